"""`bbox`: one box per image."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame, box_iou, corners
from visiontasks.core.sample import IGNORE_LABEL, Sample
from visiontasks.targets.base import Difference, Known, Target

CORNERS = ("xmin", "ymin", "xmax", "ymax")
THRESHOLDS = 0.5 + 0.05 * np.arange(10)  # of the IoU: COCO's
PIXELS = 0.5  # how far a corner of an exported model's box may be


class BoxTarget(Target):
    """One box per image: float32 (4,), xyxy in pixels; in a batch (B, 4), 0..1 of the picture, NaN where it is missing.

    Output: float32 (4,), xyxy in 0..1 of the picture.
    """

    key, monitor = "bbox", "iou"

    def to_augment(self, value: Any) -> dict[str, Any]:
        return {"bboxes": value[None]}

    def from_augment(self, value: Any, moved: dict[str, Any]) -> Any:
        return np.asarray(moved["bboxes"][0][:4], np.float32) if len(moved["bboxes"]) else None

    def resize(self, value: Any, frame: Frame) -> np.ndarray:
        box = frame.to_picture(value)
        if frame.mode == "crop" and (box[2:] <= box[:2]).any():
            raise InputError("`resize: crop` cuts its box away. Use `resize: letterbox` or `stretch`.")
        return box

    def missing(self, size: tuple[int, int], names: Sequence[str]) -> np.ndarray:
        return np.full(4, np.nan, np.float32)

    def collate(self, values: Sequence[Any], size: tuple[int, int], names: Sequence[str]) -> np.ndarray:
        return super().collate(values, size, names) / corners(size)

    def merge(self, outputs: Sequence[np.ndarray], flips: Sequence[tuple[int, ...]]) -> np.ndarray:
        return np.mean([flipped(output, axes) for output, axes in zip(outputs, flips, strict=True)], axis=0)

    def prediction(self, output: np.ndarray, frame: Frame, names: Sequence[str]) -> Sample:
        """Makes `bbox`, float32 (4,), xyxy in pixels of the image; of a set with one class `label` and `class_name`."""
        only = {"label": 0, "class_name": names[0]} if len(names) == 1 else {}
        return {**only, "bbox": frame.to_image(output * corners(frame.size))}

    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        return [{name: round(float(value), 2) for name, value in zip(CORNERS, prediction["bbox"], strict=True)}]

    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        canvas.box(sample["bbox"])

    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Lists the `boxes`, float32 (N, 4), as in a batch, without augmentation."""
        pairs = ((value, frame()) for value, frame, _ in values)
        return {"boxes": np.stack([frame.to_picture(box) / corners(frame.size) for box, frame in pairs])}

    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the mean or the median training box, whichever the training boxes overlap more."""
        boxes = summary["boxes"]
        middle = np.sort(boxes, axis=0)[(len(boxes) - 1) // 2]
        return max([boxes.mean(0), middle], key=lambda box: float(box_iou(box, boxes).mean()))

    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        """Counts boxes, their IoUs, those above 0.5, above 0.75, the share of `THRESHOLDS` that each is above, and, of
        images whose label is known and predicted, their number and those with the right class and an IoU above 0.5."""
        counts = np.zeros((7, max(1, len(names)) + 1))  # the last column is of boxes without a label
        box, label = truth.get(self.key), truth.get("label", 0 if len(names) < 2 else IGNORE_LABEL)
        if box is not None and np.isfinite(box).all():
            iou = float(box_iou(np.asarray(prediction[self.key], np.float64), np.asarray(box, np.float64)))
            both = label >= 0 and "score" in prediction
            right = both and prediction["label"] == label and iou > 0.5
            row = [1, iou, iou > 0.5, iou > 0.75, (iou > THRESHOLDS).mean(), both, right]
            counts[:, label if label >= 0 else -1] = row
        return counts

    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        totals = self.totals(counts, times)
        number, *_, labeled, localized = totals.sum(-1)
        names = ("iou", "iou50", "iou75", "iou5095")
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {name: total / number for name, total in zip(names, totals[1:5].sum(-1), strict=True)}
            if labeled.any():
                found["localization"] = localized / labeled
            boxes, iou, above = totals[:3, ..., :-1]
            return found | {"class/iou": iou / boxes, "class/iou50": above / boxes}

    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        return [Difference("box in pixels", float(np.abs(expected["bbox"] - found["bbox"]).max()), PIXELS)]


def flipped(boxes: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mirrors boxes (N, 4), 0..1 of the picture, along axes: -1 left and right, -2 up and down."""
    for axis in axes:
        ends = [0, 2] if axis == -1 else [1, 3]  # x or y
        boxes = boxes.copy()
        boxes[:, ends] = 1 - boxes[:, ends[::-1]]
    return boxes
