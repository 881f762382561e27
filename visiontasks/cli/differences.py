"""Differences between the model of a checkpoint and that of a config: printed, or refused if they have no effect."""

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.flat import flat

UNUSED = {"weights", "backbone.pretrained"}  # what a model starts from, if not from a checkpoint
ADVICE = "Use the config of its run, or start a new fit without --ckpt_path."


def print_changes(path: str | None, stored: dict[str, Any], own: Namespace) -> None:
    """Prints the settings of a model that differ from those of a checkpoint.

    Args:
        path: The checkpoint.
        stored: The model that it describes, `class_path` and `init_args`.
        own: The model of the config and the arguments.

    Raises:
        InputError: It is a model of another class, or a difference would have no effect.
    """
    known, name = (one["class_path"].rpartition(".")[2] for one in (stored, own))  # a class may have several paths
    if known != name:
        raise InputError(f"{path}: it has a {known}, the config a {name}. {ADVICE}")
    old, new = flat(stored["init_args"]), flat(own.init_args)
    changed = sorted(key for key in old.keys() & new.keys() - UNUSED if old[key] != new[key])
    if (key := "backbone.normalization") in changed:
        raise InputError(f"model.{key}: {new[key]} has no effect, because {path} holds that of {old[key]}. Give that.")
    for key in changed:
        rank_zero_info(f"model.{key}: {old[key]} in the checkpoint, {new[key]} from now on.")


def misfit(path: str | None, stored: dict[str, Any], backbone: str, error: RuntimeError) -> InputError:
    """Returns the error for weights that do not fit a model, from that of torch."""
    known = flat(stored["init_args"]).get("backbone.name")
    reason = f"they are those of {known}" if known != backbone else str(error).splitlines()[1].strip().rstrip(". ")
    return InputError(f"{path}: its weights do not fit the model of the config: {reason}. {ADVICE}")
