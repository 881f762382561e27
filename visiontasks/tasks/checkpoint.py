"""Reading checkpoints: the only `torch.load` of the project."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from visiontasks.core.build import check, check_bounds
from visiontasks.core.errors import InputError

VERSION_KEY = "visiontasks"


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a checkpoint as data, without executing anything in it.

    Returns:
        Lightning's checkpoint dict, on the CPU. `hyper_parameters` holds the `class_path` and `init_args` of the model,
        which `visiontasks.tasks.restore` checks.

    Raises:
        InputError: The file is missing, broken, or not a checkpoint of visiontasks.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: no such checkpoint (expected a local file; addresses are not fetched).")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL (\S+)", str(error))  # torch's own message advises trusting the file
        more = f": {', '.join(names)}" if names else ""
        raise InputError(f"{path}: refused, the file holds more than weights and plain values{more}.") from None
    except Exception as error:  # a broken file can make the reader raise anything
        raise InputError(f"{path}: broken or truncated checkpoint, {file.stat().st_size} bytes ({error!r}).") from error
    if not isinstance(content, dict) or VERSION_KEY not in content:
        raise InputError(f"{path}: not a checkpoint of visiontasks (no {VERSION_KEY!r} in it).")
    for name in (VERSION_KEY, "hyper_parameters", "state_dict"):
        if not isinstance(content.get(name), dict):
            raise InputError(f"{path}: not a checkpoint of visiontasks ({name!r} is missing or not a dict).")
    spec = check(content[VERSION_KEY].get("spec"), dict[str, Any], {}, f"{path}: spec")
    if missing := {"image_size", "resize"} - spec.keys():
        raise InputError(f"{path}: not a checkpoint of visiontasks (its spec has no {min(missing)!r}).")
    check_bounds(content["hyper_parameters"], f"{path}: hyper_parameters")
    return content
