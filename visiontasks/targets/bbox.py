"""`bbox`: one box per image."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame, box_iou, corners
from visiontasks.core.sample import IGNORE_LABEL, Sample
from visiontasks.targets.base import Difference, Known, Target
from visiontasks.targets.label import SCORES

CORNERS = ("xmin", "ymin", "xmax", "ymax")
THRESHOLDS = 0.5 + 0.05 * np.arange(10)  # of the IoU: COCO's
PIXELS = 0.5  # how far a corner of an exported model's box may be
CHOICES = np.arange(1, 100, dtype=np.float32) / 100  # thresholds of presence
BOXES = 7  # rows of counts that are of boxes; those of presence follow


class BoxTarget(Target):
    """One box per image: float32 (4,), xyxy in pixels; in a batch (B, 4), 0..1 of the picture, NaN where it is missing.

    Four zeros say that the image is known to have no object. `presence` is then the share of images where the decision
    whether there is one is right; the other figures are of the images with an object, whatever this decision is.

    Output: float32 (4,), xyxy in 0..1 of the picture; or (6,) with the probability of an object and its threshold.
    """

    key, monitor, compared, details = "bbox", "iou", ("presence",), ("iou75", "iou5095")

    def to_augment(self, value: Any) -> dict[str, Any]:
        return {"bboxes": value[None][:0] if is_absent(value) else value[None]}

    def from_augment(self, value: Any, moved: dict[str, Any]) -> Any:
        if is_absent(value):
            return value
        return np.asarray(moved["bboxes"][0][:4], np.float32) if len(moved["bboxes"]) else None

    def resize(self, value: Any, frame: Frame) -> np.ndarray:
        if is_absent(value):
            return value
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
        """Makes `bbox`, float32 (4,), xyxy in pixels of the image; of a set with one class `label` and `class_name`.

        With a probability it also makes `presence`, `presence_threshold`, and `bbox_guess`, which is the box even if
        there is no object: `bbox` has zeros then.
        """
        box = frame.to_image(output[:4] * corners(frame.size))
        found, absent = {"bbox": box}, False
        if len(output) > 4:
            absent = bool(output[4] < output[5])
            presence = {"presence": float(output[4]), "presence_threshold": float(output[5])}
            found = {"bbox": np.zeros_like(box) if absent else box, **presence, "bbox_guess": box}
        only = {"label": -1 if absent else 0, "class_name": "" if absent else names[0]} if len(names) == 1 else {}
        return {**only, **found}

    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        presence = {"presence": round(prediction["presence"], 6)} if "presence" in prediction else {}
        box, absent = prediction["bbox"], is_absent(prediction["bbox"]) and bool(presence)
        cells = {name: None if absent else round(float(value), 2) for name, value in zip(CORNERS, box, strict=True)}
        return [{**cells, **presence}]

    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        if is_absent(sample["bbox"]):
            canvas.caption("no object")
        else:
            canvas.box(sample["bbox"])

    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Lists the `boxes`, float32 (N, 4), as in a batch, without augmentation; and, if some images have no object,
        counts those that have one and all that are known, `present`, int64 (2,)."""
        known = list(values)
        boxes = [(box, frame()) for box, frame, _ in known if not is_absent(box)]
        stacked = np.array([frame.to_picture(box) / corners(frame.size) for box, frame in boxes], np.float32)
        present = {"present": np.array([len(boxes), len(known)])} if len(boxes) < len(known) else {}
        return {"boxes": stacked.reshape(-1, 4), **present}

    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the mean or the median training box, whichever the training boxes overlap more; where images have no
        object, with the share that has one."""
        boxes = summary["boxes"]
        middle = np.sort(boxes, axis=0)[(len(boxes) - 1) // 2]
        best = max([boxes.mean(0), middle], key=lambda box: float(box_iou(box, boxes).mean()))
        present, known = summary.get("present", (1, 1))
        return best if present == known else np.array([*best, present / known, 0.5], np.float32)

    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        """Counts boxes, their IoUs, those above 0.5, above 0.75, the share of `THRESHOLDS` that each is above, and, of
        images whose label is known and predicted, their number and those with the right class and an IoU above 0.5."""
        rows = BOXES + (2 + len(CHOICES) if "presence" in prediction else 0)
        counts = np.zeros((rows, max(1, len(names)) + 1))  # the last column is of boxes without a label
        box, label = truth.get(self.key), truth.get("label", 0 if len(names) < 2 else IGNORE_LABEL)
        if box is None or not np.isfinite(box).all():
            return counts
        if not is_absent(box):
            guess = prediction.get("bbox_guess", prediction[self.key])
            iou = float(box_iou(np.asarray(guess, np.float64), np.asarray(box, np.float64)))
            both = label >= 0 and "score" in prediction
            right = both and prediction["label"] == label and iou > 0.5
            row = [1, iou, iou > 0.5, iou > 0.75, (iou > THRESHOLDS).mean(), both, right]
            counts[:BOXES, label if label >= 0 else -1] = row
        if "presence" in prediction:
            present, chosen = not is_absent(box), np.array([prediction["presence_threshold"], *CHOICES], np.float32)
            decided = np.float32(prediction["presence"]) >= chosen
            counts[BOXES:, -1] = [1, *(decided == present)]
        return counts

    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        totals = self.totals(counts, times)
        number, *_, labeled, localized = totals[:BOXES].sum(-1)
        names = ("iou", "iou50", "iou75", "iou5095")
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {name: total / number for name, total in zip(names, totals[1:5].sum(-1), strict=True)}
            if labeled.any():
                found["localization"] = localized / labeled
            if len(totals) > BOXES:
                known, right = totals[BOXES : BOXES + 2].sum(-1)
                found["presence"] = right / known
            boxes, iou, above = totals[:3, ..., :-1]
            return found | {"class/iou": iou / boxes, "class/iou50": above / boxes}

    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        first, second = (one.get("bbox_guess", one["bbox"]) for one in (expected, found))
        differences = [Difference("box in pixels", float(np.abs(first - second).max()), PIXELS)]
        if "presence" in expected:
            far = abs(expected["presence"] - found["presence"])
            near = abs(expected["presence"] - expected["presence_threshold"]) <= SCORES  # may fall either way
            wrong = is_absent(expected["bbox"]) != is_absent(found["bbox"]) and not near
            differences += [Difference("presence", far, SCORES), Difference("decision", float(wrong), 0)]
        return differences


def is_absent(box: np.ndarray) -> bool:
    """Tells whether a box says that there is no object."""
    return not np.any(box)


def best_presence(right: np.ndarray) -> int:
    """Returns the place in `CHOICES` of the threshold with the most right decisions, the middle one of equal ones."""
    best = np.flatnonzero(right == right.max())
    return int(best[np.abs(CHOICES[best] - 0.5).argmin()])


def flipped(boxes: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mirrors boxes (N, 4), 0..1 of the picture, along axes: -1 left and right, -2 up and down."""
    for axis in axes:
        ends = [0, 2] if axis == -1 else [1, 3]  # x or y
        boxes = boxes.copy()
        boxes[:, ends] = 1 - boxes[:, ends[::-1]]
    return boxes
