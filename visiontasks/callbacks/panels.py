"""Pictures of the images with the highest loss."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image

from visiontasks.callbacks.wandb import log_boxes_and_masks
from visiontasks.core.draw import PREDICTED, TRUE, Canvas, grid, legend, object_colors
from visiontasks.core.files import atomic_write
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import Batch, Sample
from visiontasks.models.heads.base import Stage
from visiontasks.targets import find_target, names_of
from visiontasks.targets.sample import draw_on, draw_sample, predict_sample
from visiontasks.tasks.figures import split_of


class Panel(NamedTuple):
    """An image as the network sees it, with its loss, target and prediction (in pixels of this image)."""

    loss: float
    image: np.ndarray
    target: Sample
    prediction: Sample


class Panels(Callback):
    """Draws the worst images of the last validation or of a test, with target (green) and prediction (vermilion).

    They are images of the first process as the network sees them, sorted by the loss of the first head. With masks or
    several objects, the image, its target and its prediction are side by side, with a legend below. The files are
    `val_panels.png` and `test_panels.png`; W&B can switch boxes and masks on and off.

    Args:
        directory: Folder of the pictures; if not given, none is written.
        count: Number of images.
    """

    def __init__(self, directory: str | None = None, count: int = 16) -> None:
        self.directory, self.count = directory, count
        self.worst: list[Panel] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.worst = []

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.is_global_zero:
            self._keep(pl_module, outputs, batch)

    on_test_batch_end = on_validation_batch_end

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._show(trainer, pl_module, "val")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "validate":
            self._show(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._show(trainer, pl_module, "test")

    @torch.no_grad()
    def _keep(self, task: Any, outputs: dict[str, Any], batch: Batch) -> None:
        key, head = next(iter(task.heads.items()))
        losses = [float(head.loss(outputs[key][i : i + 1], batch[key][i : i + 1])) for i in range(len(batch["index"]))]
        limit = self.worst[-1].loss if len(self.worst) == self.count else 0.0
        chosen = [i for i in np.argsort(losses)[::-1][: self.count].tolist() if losses[i] > limit]
        self.worst += [_panel(task, outputs, batch, i, losses[i]) for i in chosen]
        self.worst = sorted(self.worst, key=lambda panel: -panel.loss)[: self.count]

    def _show(self, trainer: Trainer, task: Any, stage: Stage) -> None:
        if not self.worst:  # as in all processes but the first
            return
        dense, many = ([key for key in task.heads if getattr(find_target(key), part)] for part in ("dense", "columns"))
        names = [name for key in dense for name in names_of(task.spec, key)]
        if self.directory:
            apart = bool(dense or many)
            sheet = grid([_picture(panel, task.spec, apart) for panel in self.worst], columns=2 if apart else 4)
            parts = [sheet, *([legend(names, sheet.shape[1])] if dense else [])]
            parts += [legend(names_of(task.spec, key), sheet.shape[1], object_colors()) for key in many]
            with atomic_write(Path(self.directory, f"{stage}_panels.png")) as part:
                Image.fromarray(np.concatenate(parts)).save(part, "PNG")
        rows = (_layers(panel, task.spec) for panel in self.worst)
        log_boxes_and_masks(
            trainer.loggers, f"{split_of(trainer, stage)}/panels", rows, task.spec.get("class_names", []), names
        )


def _panel(task: Any, outputs: dict[str, Any], batch: Batch, number: int, loss: float) -> Panel:
    image = batch["image"][number].permute(1, 2, 0).cpu().numpy()
    size = image.shape[:2]
    frame = Frame(*batch["size"][number].tolist(), size, task.spec["resize"])
    truth = {key: value for key, value in batch["truth"][number].items() if key in task.heads}
    target = {key: find_target(key).resize(value, frame) for key, value in truth.items()}
    chosen = slice(number, number + 1)
    found = {key: head.postprocess(outputs[key][chosen])[0].float().cpu().numpy() for key, head in task.heads.items()}
    return Panel(loss, image, target, predict_sample(found, Frame(*size, size), task.spec))


def _picture(panel: Panel, spec: dict[str, Any], side_by_side: bool) -> np.ndarray:
    """Draws target and prediction on the image, or side by side with it."""
    if side_by_side:
        pairs = ((panel.target, TRUE), (panel.prediction, PREDICTED))
        return np.hstack([panel.image, *(draw_sample(panel.image, part, spec, color) for part, color in pairs)])
    canvas = Canvas(panel.image, TRUE)
    draw_on(canvas, panel.target, spec)
    return draw_sample(canvas.picture(caption=False), panel.prediction, spec)


class _Recorder(Canvas):
    """A canvas that records the drawings of target kinds for `log_boxes_and_masks`."""

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []
        self.objects: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.layer: dict[str, Any] = {}

    def paint(self, mask: np.ndarray) -> None:
        self.layer["classes"] = mask

    def box(self, box: np.ndarray) -> None:
        self.boxes += [box] if np.isfinite(box).all() else []

    def object(self, box: np.ndarray, label: int, name: str, score: float | None = None, mask: Any = None) -> None:
        self.objects.append({"box": box, "label": label, "caption": name, "score": score})

    def caption(self, text: str) -> None:
        self.texts.append(text)


def _layers(panel: Panel, spec: dict[str, Any]) -> tuple[np.ndarray, str, dict[str, Any]]:
    layers, captions = {}, []
    for name, sample in (("target", panel.target), ("prediction", panel.prediction)):
        record = _Recorder()
        draw_on(record, sample, spec)
        captions.append(caption := ", ".join(record.texts))
        label = max(0, int(sample.get("label", 0)))
        boxes = [{"box": box, "label": label, "caption": caption or name} for box in record.boxes]
        layers[name] = {**record.layer, "boxes": boxes + record.objects}
    return panel.image, " / ".join(captions).strip(" /"), layers
