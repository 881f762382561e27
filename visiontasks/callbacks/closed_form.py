"""Start the heads at the closed-form solution."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info
from rich.progress import track
from torch import Tensor

from visiontasks.samples import InputError


class ClosedFormStart(Callback):
    """Sets each head's last layer by ridge regression before a fit begins.

    One pass of the training images, only resized, through the untrained (pretrained) backbone; the
    strength of the ridge is chosen by leave-one-out. Training then starts from a good head and
    does not spoil the backbone with the gradients of a random one. A resumed fit is left alone.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.ckpt_path is None:
            self.solve(trainer, pl_module)

    @torch.no_grad()
    def solve(self, trainer: Trainer, task: Any) -> None:
        """Makes the pass and sets the heads of a `VisionTask`, on all ranks alike."""
        if getattr(trainer, "datamodule", None) is None:
            raise InputError("ClosedFormStart needs the training set in order: give the Trainer a VisionDataModule.")
        device = trainer.strategy.root_device
        task.to(device).eval()
        designs: dict[str, list[Tensor]] = {key: [] for key in task.heads}
        targets: dict[str, list[Tensor]] = {key: [] for key in task.heads}
        loader = trainer.datamodule.loader("train")  # ty: ignore[missing-attribute]
        for batch in track(loader, "Closed-form start", transient=True, disable=not trainer.is_global_zero):
            features = task.backbone(batch["image"].to(device), task.needs_pyramid)
            for key, head in task.heads.items():
                designs[key].append(head.design(features).float().cpu())
                targets[key].append(batch[key].cpu())
        for key, head in task.heads.items():
            design, target = (_gather(trainer, torch.cat(parts)) for parts in (designs[key], targets[key]))
            found = head.solve(design, target)
            values = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            rank_zero_info(f"Closed-form start of {key} on {len(design)} samples: {values}.")
        task.train()


def _gather(trainer: Trainer, part: Tensor) -> Tensor:
    """Concatenates the ranks' rows, of which some may have one more than others."""
    if trainer.world_size == 1:
        return part
    parts: list[Tensor | None] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, part)
    return torch.cat([rows for rows in parts if rows is not None])
