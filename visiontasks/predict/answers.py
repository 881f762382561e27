"""What a network answers, and how it becomes a prediction in the pixels of the image; without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from visiontasks.core.geometry import Resize, Size, height_width, original_boxes, place
from visiontasks.core.sample import Sample

Answers = dict[str, np.ndarray]
"""Of a batch of pictures, by key, float32: `label` (B, classes), probabilities; `bbox` (B, 4), xyxy in 0..1 of the
picture; `mask` (B, classes, H, W), of which the highest is a pixel's class: logits, or means of probabilities."""


def predictions(answers: Answers, sizes: Sequence[tuple[int, int]], spec: dict[str, Any]) -> Iterator[Sample]:
    """Divides the answers to a batch into one prediction an image.

    Args:
        answers: Of the pictures.
        sizes: Height and width of each original image.
        spec: The model's `class_names`, `image_size` and `resize`.

    Yields:
        `size`, and by the network's keys `label` (int), `class_name`, `score` (0..1), `probabilities` (float32
        (classes,)), `bbox` (float32 (4,), xyxy in pixels of the original image), `mask` (uint8 (H, W) of it).
    """
    frame: tuple[Size, Resize] = (spec["image_size"], spec["resize"])
    for number, (height, width) in enumerate(sizes):
        sample: Sample = {"size": (height, width)}
        if "label" in answers:
            probabilities = answers["label"][number]
            label = int(probabilities.argmax())
            sample |= {"label": label, "score": float(probabilities[label]), "probabilities": probabilities}
        elif "bbox" in answers and len(spec["class_names"]) == 1:
            sample["label"] = 0
        if "label" in sample:
            sample["class_name"] = spec["class_names"][sample["label"]]
        if "bbox" in answers:
            box = answers["bbox"][number] * (height_width(spec["image_size"])[::-1] * 2)
            sample["bbox"] = original_boxes(box, height, width, *frame)
        if "mask" in answers:
            sample["mask"] = original_mask(answers["mask"][number], height, width, *frame)
        yield sample


def original_mask(scores: np.ndarray, height: int, width: int, size: Size, mode: Resize) -> np.ndarray:
    """The class of each pixel of an image, uint8 (H, W), from scores of its picture, float32 (classes, h, w).

    The scores are carried back bilinearly, one class after the other: all at once a large photo would not fit.
    """
    new = place(height, width, size, mode)
    scores = scores[:, new.top : new.top + new.height, new.left : new.left + new.width]
    best, classes = _resized(scores[0], height, width), np.zeros((height, width), np.uint8)
    for label, part in enumerate(scores[1:], 1):
        whole = _resized(part, height, width)
        classes[whole > best] = label
        best = np.maximum(best, whole)
    return classes


def _resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    if plane.shape == (height, width):
        return plane
    return cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=cv2.INTER_LINEAR)
