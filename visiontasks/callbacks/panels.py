"""The images that a model does worst on, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from visiontasks.draw import PREDICTED, TRUE, caption, draw, grid
from visiontasks.samples import Batch, Sample


class Panels(Callback):
    """Draws the worst images of the last validation, or of a test: target green, prediction vermilion.

    They are the images of the first process, as the network sees them, the worst first: by IoU where there is
    a box, else by the probability of the true class. `val_panels.png` or `test_panels.png`, and in W&B with
    boxes that can be switched on and off.

    Args:
        directory: Where the pictures go; nothing is written if not given.
        count: How many images.
    """

    def __init__(self, directory: str | None = None, count: int = 16) -> None:
        self.directory, self.count = directory, count
        self.worst: list[tuple[float, np.ndarray, Sample, Sample]] = []

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
        size = images.shape[1]
        targets = {key: task.target(batch, key)[chosen].cpu() for key in task.heads}
        target = {key: (part.float() if part.is_floating_point() else part).numpy() for key, part in targets.items()}
        predicted: dict[str, np.ndarray] = {}
        for name, task_head in task.heads.items():
            found = task_head.predict(outputs[name][chosen]).items()
            predicted |= {key: value.float().cpu().numpy() for key, value in found if key in ("label", "score", "bbox")}
        for number, i in enumerate(chosen):
            true, guess = ({key: values[number] for key, values in part.items()} for part in (target, predicted))
            for sample in (true, guess):
                if "bbox" in sample:
                    sample["bbox"] = sample["bbox"] * size
            self.worst.append((float(quality[i]), images[number], true, guess))
        self.worst = sorted(self.worst, key=lambda row: row[0])[: self.count]

    def _show(self, trainer: Trainer, task: Any, stage: str) -> None:
        if not self.worst:
            return
        names = task.spec["class_names"]
        if self.directory:
            pictures = []
            for _, image, target, predicted in self.worst:
                pictures.append(draw(draw(image, {**target, "label": None}, names, TRUE), predicted, names, PREDICTED))
            Image.fromarray(grid(pictures)).save(Path(self.directory, f"{stage}_panels.png"))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.log({f"{stage}/panels": [_wandb_image(row, names) for row in self.worst]})


def _wandb_image(row: tuple[float, np.ndarray, Sample, Sample], class_names: list[str]) -> Any:
    import wandb

    _, image, target, predicted = row
    labels = dict(enumerate(class_names))
    boxes = {}
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
    text = f"{caption(target, class_names)} / {caption(predicted, class_names)}"
    return wandb.Image(image, boxes=boxes or None, caption=text.strip(" /") or None)
