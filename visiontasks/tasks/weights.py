"""Start from the weights of another run."""

from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.targets import names_of
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint


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
