"""From a checkpoint to the model that it describes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentParser

from visiontasks.core.errors import InputError
from visiontasks.models.backbone import without_weights
from visiontasks.tasks import VisionTask
from visiontasks.tasks.checkpoint import read_checkpoint

DOTTED = r"\w+(\.\w+)+"
FREE_TEXT = ("name", "pretrained", "weights")  # names of networks and files, never imported
OWN = tuple(f"visiontasks.{room}." for room in ("tasks", "models", "losses", "schedules"))
TRUSTED = (*OWN, "torch.optim.", "torch.nn.")


def restore_task(path: str) -> VisionTask:
    """Builds the model that a checkpoint describes and gives it its weights.

    Returns:
        The model, on the CPU, in eval mode.

    Raises:
        InputError: The file is no checkpoint of visiontasks, or names classes outside visiontasks and
            torch whose module the caller has not imported.
    """
    checkpoint = read_checkpoint(path)
    task = build_task(checkpoint["hyper_parameters"])
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit the model that it describes: {error}") from None
    return task.eval()


def build_task(description: dict[str, Any]) -> VisionTask:
    """Builds a model from its `class_path` and `init_args`, with random weights.

    Raises:
        InputError: A class is neither ours nor torch's, or cannot be built so.
    """
    for path in _class_paths({"model": description}):
        if not path.startswith(TRUSTED) and path.rpartition(".")[0] not in sys.modules:
            raise InputError(f"the checkpoint wants the class {path}. If you trust it, import its module first.")
    for_training = {"compile": False, "weights": None}
    init_args = {name: for_training.get(name, value) for name, value in description.get("init_args", {}).items()}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VisionTask, "model")
    try:
        with without_weights():
            return parser.instantiate(parser.parse_object({"model": {**description, "init_args": init_args}})).model
    except Exception as error:  # whatever arguments of another version, or of a hostile file, lead to
        raise InputError(f"the model that the checkpoint describes cannot be built: {error}") from error


def _class_paths(value: Any) -> Iterator[str]:
    """All that jsonargparse would import: a class may also be given by its bare name."""
    if isinstance(value, list):
        value = {str(number): item for number, item in enumerate(value)}
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, str) and (key == "class_path" or (key not in FREE_TEXT and re.fullmatch(DOTTED, item))):
            yield item
        elif key != "spec":
            yield from _class_paths(item)
