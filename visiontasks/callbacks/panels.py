"""Pictures of the images with the highest loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image

from visiontasks.callbacks.verdict import judge_all
from visiontasks.callbacks.wandb import log_boxes_and_masks
from visiontasks.core.draw import PREDICTED, TRUE, Canvas, captioned, enlarged, grid, legend, object_colors
from visiontasks.core.files import atomic_write
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import Batch, Sample
from visiontasks.data.batches import BatchDataset
from visiontasks.models.heads.base import Stage
from visiontasks.targets import find_target, names_of
from visiontasks.targets.sample import draw_on, predict_sample
from visiontasks.tasks.figures import split_of

LARGEST = 2_000_000  # bytes of a file
WIDTHS = (240, 200, 160, 120, 80, 60)  # of a picture in pixels; the first that makes the file small enough
INK = (0, 0, 0)


class Panel(NamedTuple):
    """An image as the network sees it, with its loss, target and prediction (in pixels of this image), and its name."""

    loss: float
    image: np.ndarray
    target: Sample
    prediction: Sample
    name: str = ""


class Panels(Callback):
    """Draws the worst images of the last validation or of a test, with target (green) and prediction (vermilion).

    They are images of the first process as the network sees them, sorted by the loss of the first head. Below each are
    its target and prediction in words, whether it is right or a figure (see `judge`), and the name of its file. A
    wrong one has a vermilion frame, a right one a green one. With masks or several objects, the image, its target
    and its prediction are side by side, with a legend of the classes at the end. The files are `val_panels.png` and
    `test_panels.png`, of 2 MB at most; W&B can switch boxes and masks on and off.

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
            self._keep(trainer, pl_module, outputs, batch)

    on_test_batch_end = on_validation_batch_end

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._show(trainer, pl_module, "val")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "validate":
            self._show(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._show(trainer, pl_module, "test")

    @torch.no_grad()
    def _keep(self, trainer: Trainer, task: Any, outputs: dict[str, Any], batch: Batch) -> None:
        key, head = next(iter(task.heads.items()))
        losses = [float(head.loss(outputs[key][i : i + 1], batch[key][i : i + 1])) for i in range(len(batch["index"]))]
        limit = self.worst[-1].loss if len(self.worst) == self.count else 0.0
        chosen = [i for i in np.argsort(losses)[::-1][: self.count].tolist() if losses[i] > limit]
        panels = [_panel(task, outputs, batch, i, losses[i]) for i in chosen]
        names = _names(trainer, batch["index"][chosen].tolist())
        self.worst += [panel._replace(name=name) for panel, name in zip(panels, names, strict=True)]
        self.worst = sorted(self.worst, key=lambda panel: -panel.loss)[: self.count]

    def _show(self, trainer: Trainer, task: Any, stage: Stage) -> None:
        if not self.worst:  # as in all processes but the first
            return
        dense, many = ([key for key in task.heads if getattr(find_target(key), part)] for part in ("dense", "columns"))
        names = [name for key in dense for name in names_of(task.spec, key)]
        if self.directory:
            legends = [(names, None)] if dense else []
            legends += [(names_of(task.spec, key), object_colors()) for key in many]
            path = Path(self.directory, f"{stage}_panels.png")
            write_panels(path, self.worst, task.spec, bool(dense or many), legends)
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


def _names(trainer: Trainer, indices: list[int]) -> list[str]:
    """Returns the file names of images of the loader that is evaluated, each with its folder."""
    loader: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    batches = getattr(loader, "dataset", None)
    if not isinstance(batches, BatchDataset):  # a loader of the user
        return [str(index) for index in indices]
    return ["/".join(Path(batches.dataset.name(index)).parts[-2:]) for index in indices]


def write_panels(
    path: Path, panels: Sequence[Panel], spec: dict[str, Any], apart: bool, legends: Sequence[tuple]
) -> None:
    """Draws panels in rows, with legends of names and colors below, and writes a PNG file that is not too large.

    Args:
        path: The file.
        panels: Images of one size.
        spec: The spec of the model.
        apart: Draw target and prediction beside the image, not on it.
        legends: Arguments of `legend`: names and colors.
    """
    with atomic_write(path) as part:
        for width in WIDTHS:
            sheet = grid([_cell(panel, spec, apart, width) for panel in panels], columns=2 if apart else 4)
            parts = [sheet, *(legend(names, sheet.shape[1], colors) for names, colors in legends)]
            Image.fromarray(np.concatenate(parts)).save(part, "PNG")
            if part.stat().st_size <= LARGEST:
                break


def _cell(panel: Panel, spec: dict[str, Any], apart: bool, width: int) -> np.ndarray:
    """Draws target and prediction on the image, or side by side with it, above what they are in words."""
    image, times = enlarged(panel.image, width)
    true = Canvas(image, TRUE, times)
    draw_on(true, panel.target, spec)
    drawn = true.picture(caption=False)
    found = Canvas(image if apart else drawn, PREDICTED, times)
    draw_on(found, panel.prediction, spec)
    verdict = judge_all(panel.target, panel.prediction, spec)
    mark = f" ({verdict.text})" if verdict.text else ""
    frame = None if verdict.is_right is None else TRUE if verdict.is_right else PREDICTED
    lines = [(panel.name, INK), (_words("true", true.text), TRUE), (_words("predicted", found.text) + mark, PREDICTED)]
    if not apart:
        return captioned(found.picture(caption=False), [*lines[1:], lines[0]], width, frame)
    pictures = zip((image, drawn, found.picture(caption=False)), lines, (None, None, frame), strict=True)
    return np.hstack([captioned(one, [line], width, edge) for one, line, edge in pictures])


def _words(title: str, text: str) -> str:
    return f"{title}: {text}" if text else title


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
