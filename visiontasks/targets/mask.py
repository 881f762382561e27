"""`mask`: one class per pixel."""

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.resize import resize_mask
from visiontasks.core.sample import IGNORE_MASK, PRIOR_GRID, Sample
from visiontasks.targets.base import Difference, Known, Target
from visiontasks.targets.label import count_classes, mean_of_known

EQUAL, TIES = 0.9999, 4  # share of the pixels that must have the same class, and how many may always differ


class MaskTarget(Target):
    """One class per pixel: uint8 (H, W), 255 where a pixel does not count; in a batch (B, H, W).

    Output: float32 (classes, h, w), of which the highest is a pixel's class, at the size of the picture.
    """

    key, names_key, monitor, dense = "mask", "mask_names", "miou", True
    occurrence = "pixels"

    def to_augment(self, value: Any) -> dict[str, Any]:
        return {"mask": value}

    def from_augment(self, value: Any, moved: dict[str, Any]) -> Any:
        return moved["mask"]

    def resize(self, value: Any, frame: Frame) -> np.ndarray:
        return resize_mask(value, frame)

    def missing(self, size: tuple[int, int], names: Sequence[str]) -> np.ndarray:
        return np.full(size, IGNORE_MASK, np.uint8)

    def merge(self, outputs: Sequence[np.ndarray], flips: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Averages the probabilities of the classes, at the size of the first view."""
        if len(outputs) == 1:
            return outputs[0]
        total = np.zeros_like(outputs[0])
        for output, axes in zip(outputs, flips, strict=True):
            total += _resized(_softmax(np.flip(output, axes) if axes else output), total.shape)
        return total / len(outputs)

    def prediction(self, output: np.ndarray, frame: Frame, names: Sequence[str]) -> Sample:
        """Makes `mask`, uint8 (H, W), at the size of the image. An output of (h, w) is a coarse mask of the image."""
        if output.ndim == 2:
            size = (frame.width, frame.height)
            return {"mask": cv2.resize(output.round().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)}
        return {"mask": restore_mask(output, frame)}

    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        shares = np.bincount(prediction["mask"].ravel(), minlength=len(names)) / prediction["mask"].size
        return [{f"share of {name}": round(share, 6) for name, share in zip(names, shares.tolist(), strict=True)}]

    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        canvas.paint(sample["mask"])

    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Counts the `pixels` of each class and the `totals`, the pixels of all masks in which it occurs, both int64
        (classes,); and `places`, in how many masks each class is at each position, int64 (classes, 64, 64).

        Raises:
            InputError: A mask has a class without a name.
        """
        pixels, totals = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
        places = np.zeros((len(names), PRIOR_GRID, PRIOR_GRID), np.int64)
        classes = np.arange(len(names), dtype=np.uint8)[:, None, None]
        for mask, _, name in values:
            found = np.bincount(mask.ravel(), minlength=256)
            if (strange := found[len(names) : IGNORE_MASK].nonzero()[0]).size:
                raise InputError(
                    f"{name} has pixels of class {len(names) + strange[0]}, and mask_names are {len(names)}. Name all "
                    "classes, or make others 255."
                )
            found = found[: len(names)]
            pixels += found
            totals += np.where(found > 0, found.sum(), 0)
            places += cv2.resize(mask, (PRIOR_GRID, PRIOR_GRID), interpolation=cv2.INTER_NEAREST_EXACT) == classes
        return {"pixels": pixels, "totals": totals, "places": places}

    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns a coarse mask, float32 (64, 64): the most frequent class at each position or, if that has the higher
        mean IoU on the training masks, overall."""
        places = summary["places"]
        overall = np.full(places.shape[1:], places.sum((1, 2)).argmax())
        return max((places.argmax(0), overall), key=lambda guess: _miou(guess, places)).astype(np.float32)

    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        if self.key not in truth:
            return np.zeros((3, len(names)))
        known = truth[self.key] != IGNORE_MASK
        return count_classes(truth[self.key][known], prediction[self.key][known], len(names))

    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        true, taken, right = self.totals(counts, times)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, dice = right / (true + taken - right), 2 * right / (true + taken)
            # without the background, which is the larger and easier class
            foreground = {"foreground_iou": iou[..., 1], "foreground_dice": dice[..., 1]} if iou.shape[-1] == 2 else {}
            return {
                "miou": mean_of_known(iou),
                "dice": mean_of_known(dice),
                **foreground,
                "pixel_accuracy": right.sum(-1) / true.sum(-1),
                "class/iou": iou,
                "class/dice": dice,
                "class/recall": right / true,
            }

    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        pixels = expected["mask"].size
        other = int((expected["mask"] != found["mask"]).sum())
        return [Difference("share of other pixels", other / pixels, max(1 - EQUAL, TIES / pixels))]


def restore_mask(scores: np.ndarray, frame: Frame) -> np.ndarray:
    """Returns the class of each pixel of an image, uint8 (H, W), from scores of its picture, float32 (classes, h, w).

    The scores are resized bilinearly, one class after the other: all of a large photo would not fit into memory.
    """
    new = frame.placement
    top, left = max(0, new.top), max(0, new.left)
    planes = (_resized(part[top:, left:][: new.height, : new.width], (frame.height, frame.width)) for part in scores)
    best = next(planes)
    classes = np.zeros((frame.height, frame.width), np.uint8)
    for label, plane in enumerate(planes, 1):
        classes[plane > best] = label
        best = np.maximum(best, plane)
    return classes


def _resized(part: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resizes planes (..., h, w) bilinearly to a shape; planes of this shape may be large and are not copied."""
    if part.shape == shape:
        return part
    planes = np.ascontiguousarray(part).reshape(-1, *part.shape[-2:])
    return np.stack([cv2.resize(plane, shape[:-3:-1]) for plane in planes]).reshape(shape)


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _miou(guess: np.ndarray, places: np.ndarray) -> float:
    """The mean IoU of one coarse mask, int (h, w), on masks that were counted by class and position."""
    taken = np.arange(len(places))[:, None, None] == guess
    right, all_taken = (places * taken).sum((1, 2)), (places.sum(0) * taken).sum((1, 2))
    with np.errstate(invalid="ignore"):
        return float(mean_of_known(right / (places.sum((1, 2)) + all_taken - right)))
