"""Closed-form solution of the heads before training."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info
from rich.progress import track
from torch import Tensor

from visiontasks.core.errors import InputError


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
        heads = {key: head for key, head in task.heads.items() if self.heads is None or key in self.heads}
        device = trainer.strategy.root_device
        task.to(device).eval()
        designs: dict[str, list[Tensor]] = {key: [] for key in heads}
        targets: dict[str, list[Tensor]] = {key: [] for key in [*heads, "index"]}
        samples = self.passes * len(trainer.datamodule.dataset("train"))  # ty: ignore[missing-attribute]
        for number in range(self.passes):
            loader = trainer.datamodule.loader("train", augment=number > 0)  # ty: ignore[missing-attribute]
            loader.sampler.set_epoch(number)
            title = f"Closed-form start {number + 1}/{self.passes}"
            for batch in track(loader, title, transient=True, disable=not trainer.is_global_zero):
                features = task.backbone(batch["image"].to(device), task.needs_pyramid)
                for key, head in heads.items():
                    designs[key].append(head.design(features).float().cpu())
                    targets[key].append(batch[key].cpu())
                    _check_size(key, designs[key][0].shape[1], samples)
                targets["index"].append(batch["index"])
        index = _gather(trainer, torch.cat(targets["index"]))
        for key, head in heads.items():
            design, target = (_gather(trainer, torch.cat(parts)) for parts in (designs.pop(key), targets[key]))
            found = head.solve(design, target, index)
            values = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            rank_zero_info(f"Closed-form start of {key} on {len(design)} samples: {values}.")
        task.train()


def _check_size(key: str, features: int, samples: int) -> None:
    """Raises `InputError` if the solution would need too much memory or time."""
    size = 4 * features * samples / 1e9
    if size > 8 or min(features, samples) > 20_000:
        raise InputError(
            f"ClosedFormStart: {samples:,} samples of {features:,} features for {key} ({size:.0f} GB) are too many. "
            "Use fewer passes, a head with fewer features (for boxes `grid: 1`), or remove the callback."
        )


def _gather(trainer: Trainer, part: Tensor) -> Tensor:
    """Concatenates the rows of all ranks, whose numbers may differ by one."""
    if trainer.world_size == 1:
        return part
    parts = [part] * trainer.world_size  # to be replaced by those of each rank
    torch.distributed.all_gather_object(parts, part)
    return torch.cat(parts)
