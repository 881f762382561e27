"""The file of a checkpoint: its origin, and the only `torch.load` and `torch.save` of checkpoints."""

import os
import pickle
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.build import check, check_bounds
from visiontasks.core.compat import tree_leaves
from visiontasks.core.errors import InputError
from visiontasks.core.files import atomic_write
from visiontasks.targets import names_of
from visiontasks.targets.sample import is_spec

VERSION_KEY = "visiontasks"
TRAINING = {  # the state of a fit in a checkpoint, which Lightning reads
    **dict.fromkeys(("loops", "callbacks"), dict),
    **dict.fromkeys(("optimizer_states", "lr_schedulers"), list),
    **dict.fromkeys(("epoch", "global_step"), int),
    "pytorch-lightning_version": str,
}


def provenance(fingerprint: str | None, spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the versions, git commit, data fingerprint and spec that a checkpoint stores."""
    from visiontasks import __version__

    versions = {"version": __version__, "torch": str(torch.__version__)}
    return {**versions, "commit": _git_commit(), "data": fingerprint, "spec": spec}


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
        damage = _damage(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL (\S+)", str(error))  # torch's own message advises trusting the file
        more = f": {', '.join(names)}" if names else ""
        raise InputError(f"{path}: refused, the file holds more than weights and plain values{more}.") from None
    except Exception as error:  # a broken file can make the reader raise anything
        raise InputError(f"{path}: broken or truncated checkpoint, {file.stat().st_size} bytes ({error!r}).") from error
    if damage:
        raise InputError(f"{path}: broken checkpoint, the checksum of {damage} is wrong. Use another one.")
    for name in (VERSION_KEY, "hyper_parameters", "state_dict"):
        if not isinstance(content, dict) or not isinstance(content.get(name), dict):
            raise InputError(f"{path}: not a checkpoint of visiontasks ({name!r} is missing or not a dict).")
    spec = check(content[VERSION_KEY].get("spec"), dict[str, Any], {}, f"{path}: spec")
    if not is_spec(spec):
        raise InputError(f"{path}: not a checkpoint of visiontasks: spec: {str(spec)[:200]} describes no data.")
    for name, kind in TRAINING.items():
        if name in content and not isinstance(content[name], kind):
            raise InputError(f"{path}: not a checkpoint of visiontasks ({name!r} is not a {kind.__name__}).")
    for name, value in content["state_dict"].items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_meta:
            raise InputError(
                f"{path}: not a checkpoint of visiontasks (the weight {str(name)[:100]!r} is not a tensor)."
            )
        if value.is_complex() or not value.isfinite().all():
            raise InputError(f"{path}: the weight {str(name)[:100]!r} must hold finite real numbers. Use another one.")
    check_bounds(content["hyper_parameters"], f"{path}: hyper_parameters")
    return content


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint, so that `path` holds the old or the new one whenever the process or the machine stops.

    Raises:
        InputError: The file cannot be written; an older one of this name is left as it is.
    """
    size = sum(leaf.nbytes for leaf in tree_leaves(content) if isinstance(leaf, torch.Tensor))
    with atomic_write(path) as part:
        if size > (free := shutil.disk_usage(path.parent).free):
            raise InputError(f"{path}: needs {size / 1e6:.0f} MB, and the disk has {free / 1e6:.0f} MB. Make room.")
        with part.open("wb") as file:
            _save(content, file)
            file.flush()
            os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)  # its entry is not safe before
    os.fsync(folder)
    os.close(folder)


def _save(content: dict[str, Any], file: BinaryIO) -> None:
    """Calls `torch.save`, which hides the reason if a write fails or is interrupted by a signal."""
    reasons: list[BaseException] = []

    def write(part: Any) -> int:
        try:
            return file.write(part)
        except BaseException as error:  # torch also raises one here when a loader process dies
            reasons.append(error)
            raise

    try:
        noting: Any = SimpleNamespace(write=write, flush=file.flush)
        torch.save(content, noting)
    except RuntimeError:
        if reasons:
            raise reasons[0] from None
        raise


class CheckpointFile(CheckpointIO):
    """How Lightning writes and reads checkpoints; its own way can leave a broken file, or none and no error."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def start_from(task: Any, path: str) -> None:
    """Loads the backbone of another run's checkpoint into a `VisionTask`, and its heads if they have the same classes.

    Raises:
        InputError: It is not a checkpoint, or has another backbone.
    """
    checkpoint = read_checkpoint(path)
    state, own = checkpoint["state_dict"], task.state_dict()
    before = checkpoint[VERSION_KEY]["spec"]
    others = {key for key in task.heads if names_of(before, key) != names_of(task.spec, key)}
    misfits = [name for name, own_tensor in own.items() if getattr(state.get(name), "shape", 0) != own_tensor.shape]
    for name in misfits:
        if not name.startswith("heads."):
            found = tuple(state[name].shape) if name in state else "nothing"
            raise InputError(f"model.weights: {path} has {found} for {name}, expected {tuple(own[name].shape)}.")
    created = sorted(others | {name.split(".")[1] for name in misfits})
    skipped = tuple(f"heads.{key}." for key in created)
    task.load_state_dict({name: state[name] for name in own if not name.startswith(skipped)}, strict=False)
    note = f"; created from scratch: the head of {', '.join(created)}" if created else ""
    rank_zero_info(f"Started from the weights of {path}{note}.")


def _damage(path: Path) -> str | None:
    """Returns the first part of the file whose checksum is wrong, which torch does not look at."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        packed = [part.filename for part in archive.infolist() if part.compress_type != zipfile.ZIP_STORED]
        return packed[0] if packed else archive.testzip()  # torch packs nothing, and unpacking has no bound


def _git_commit() -> str | None:
    try:
        run = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
