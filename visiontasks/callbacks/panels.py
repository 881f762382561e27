"""The images that a model does worst on, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from torch import Tensor

from visiontasks.core.draw import PREDICTED, TRUE, caption, draw, grid, legend
from visiontasks.core.sample import IGNORE_MASK, Batch, Sample

SHOWN = ("label", "score", "bbox", "mask")
Row = tuple[float, np.ndarray, Sample, Sample]  # how good it is, the image, its target and its prediction


class Panels(Callback):
    """Draws the worst images of the last validation, or of a test: target green, prediction vermilion.

    They are the images of the first process, as the network sees them, the worst first: by the quality
    of the first head, IoU or the probability of the true class. Where there are masks, the image, its target and its
    prediction stand side by side, and a legend below. `val_panels.png` or `test_panels.png`, and in W&B with boxes and
    masks that can be switched on and off.

    Args:
        directory: Where the pictures go; nothing is written if not given.
        count: How many images.
    """

    def __init__(self, directory: str | None = None, count: int = 16) -> None:
        self.directory, self.count = directory, count
        self.worst: list[Row] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.worst = []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.worst = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.is_global_zero:
            self._keep(pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.is_global_zero:
            self._keep(pl_module, outputs, batch)

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._show(trainer, pl_module, "val")

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "validate":
            self._show(trainer, pl_module, "val")

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._show(trainer, pl_module, "test")

    def _keep(self, task: Any, outputs: dict[str, Any], batch: Batch) -> None:
        key, head = next(iter(task.heads.items()))
        quality = head.quality(outputs[key], task.target(batch, key))
        quality = quality.nan_to_num(2.0)  # what has no target is no mistake
        limit = self.worst[-1][0] if len(self.worst) == self.count else float("inf")
        chosen = [i for i in quality.argsort().tolist()[: self.count] if float(quality[i]) < limit]
        if not chosen:
            return
        images = batch["image"][chosen].permute(0, 2, 3, 1).cpu().numpy()
        height, width = images.shape[1:3]
        target = {key: _array(task.target(batch, key)[chosen]) for key in task.heads}
        predicted: dict[str, np.ndarray] = {}
        for name, task_head in task.heads.items():
            found = task_head.predict(outputs[name][chosen]).items()
            predicted |= {key: _array(value) for key, value in found if key in SHOWN}
        for number, i in enumerate(chosen):
            true, guess = ({key: values[number] for key, values in part.items()} for part in (target, predicted))
            for sample in (true, guess):
                if "bbox" in sample:
                    sample["bbox"] = sample["bbox"] * [width, height, width, height]
            self.worst.append((float(quality[i]), images[number], true, guess))
        self.worst = sorted(self.worst, key=lambda row: row[0])[: self.count]

    def _show(self, trainer: Trainer, task: Any, stage: str) -> None:
        if not self.worst:
            return
        names, mask_names = task.spec["class_names"], task.spec.get("mask_names", [])
        if self.directory:
            masks = "mask" in task.heads
            sheet = grid([_picture(row, names, masks) for row in self.worst], columns=2 if masks else 4)
            parts = [sheet, legend(mask_names, sheet.shape[1])] if masks else [sheet]
            Image.fromarray(np.concatenate(parts)).save(Path(self.directory, f"{stage}_panels.png"))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                pictures = [_wandb_image(row, names, mask_names) for row in self.worst]
                logger.experiment.log({f"{stage}/panels": pictures})


def _array(values: Tensor) -> np.ndarray:
    return (values.float() if values.is_floating_point() else values).cpu().numpy()


def _picture(row: Row, class_names: list[str], masks: bool) -> np.ndarray:
    """One picture with both boxes; where there are masks the image, its target and its prediction side by side."""
    _, image, target, predicted = row
    if not masks:
        return draw(draw(image, {**target, "label": None}, class_names, TRUE), predicted, class_names, PREDICTED)
    return np.hstack([image, draw(image, target, class_names, TRUE), draw(image, predicted, class_names, PREDICTED)])


def _wandb_image(row: Row, class_names: list[str], mask_names: list[str]) -> Any:
    import wandb

    _, image, target, predicted = row
    labels = dict(enumerate(class_names))
    boxes, masks = {}, {}
    for name, sample in (("target", target), ("prediction", predicted)):
        if "bbox" in sample and np.isfinite(sample["bbox"]).all():
            x1, y1, x2, y2 = (float(value) for value in sample["bbox"])
            box = {
                "position": {"minX": x1, "minY": y1, "maxX": x2, "maxY": y2},
                "domain": "pixel",
                "class_id": int(sample.get("label", 0)),
                "box_caption": caption(sample, class_names) or name,
            }
            boxes[name] = {"box_data": [box], "class_labels": labels}
        if "mask" in sample:
            known = {**dict(enumerate(mask_names)), IGNORE_MASK: "ignored"}
            masks[name] = {"mask_data": sample["mask"], "class_labels": known}
    text = f"{caption(target, class_names)} / {caption(predicted, class_names)}"
    return wandb.Image(image, boxes=boxes or None, masks=masks or None, caption=text.strip(" /") or None)
