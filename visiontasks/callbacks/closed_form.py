"""Closed-form solution of the heads before training."""

from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from visiontasks.core.errors import InputError
from visiontasks.core.progress import track


class ClosedFormStart(Callback):
    """Sets the last layer of each head by ridge regression before a fit begins.

    It takes one pass of the training images, only resized, through the initial (pretrained) backbone, and chooses the
    ridge penalty by leave-one-out. Training then starts from good heads, so that gradients of random heads do not harm
    the backbone. A resumed fit is not changed.

    Args:
        passes: Passes over the training set; from the second one on it is augmented as in training.
        heads: Keys of the heads to set, such as `label`; by default all.
    """

    def __init__(self, passes: int = 1, heads: list[str] | None = None) -> None:
        if passes < 1:
            raise InputError(f"ClosedFormStart: passes={passes} must be at least 1.")
        self.passes, self.heads = passes, heads

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.ckpt_path is None:
            self.solve(trainer, pl_module)

    @torch.no_grad()
    def solve(self, trainer: Trainer, task: Any) -> None:
        """Makes the passes and sets the heads of a `VisionTask`, equally on all ranks."""
        if getattr(trainer, "datamodule", None) is None:
            raise InputError("ClosedFormStart needs the training set in order: give the Trainer a VisionDataModule.")
        if unknown := set(self.heads or []) - set(task.heads):
            raise InputError(f"ClosedFormStart.heads: no head predicts {min(unknown)!r}; there are {[*task.heads]}.")
        device = trainer.strategy.root_device
        task.to(device).eval()
        samples = self.passes * len(trainer.datamodule.dataset("train"))  # ty: ignore[missing-attribute]
        chosen = (key for key in task.heads if self.heads is None or key in self.heads)
        solvers = {key: task.heads[key].solver(samples) for key in chosen}
        for number in range(self.passes):
            loader = trainer.datamodule.loader("train", augment=number > 0)  # ty: ignore[missing-attribute]
            loader.sampler.set_epoch(number)
            title = f"Closed-form start {number + 1}/{self.passes}"
            for batch in track(loader, title, hidden=not trainer.is_global_zero):
                features = task.backbone(batch["image"].to(device), task.needs_pyramid)
                for key, solver in solvers.items():
                    solver.add(features, batch[key], batch["index"])
        for key, solver in solvers.items():
            values = ", ".join(f"{name} {value:.3g}" for name, value in solver.solve(partial(_gather, trainer)).items())
            rank_zero_info(f"Closed-form start of {key} on {samples} samples: {values}.")
        task.train()


def _gather(trainer: Trainer, part: Tensor) -> list[Tensor]:
    """Returns the tensors of all ranks, whose numbers of rows may differ by one."""
    parts = [part] * trainer.world_size  # to be replaced by those of each rank
    if trainer.world_size > 1:
        torch.distributed.all_gather_object(parts, part)
    return parts
