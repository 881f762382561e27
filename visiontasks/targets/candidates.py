"""Candidates: the rows of an output of `ObjectsTarget`, from which objects are chosen."""

from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.core.geometry import box_iou
from visiontasks.core.objects import Objects, fuse, suppress
from visiontasks.targets.bbox import flipped
from visiontasks.targets.coco import MOST

CANDIDATES, LEAST_SCORE, SUPPRESSED = 300, 0.01, 0.6  # before suppression, and the IoU at which it removes a box
FUSED = 0.5  # IoU of boxes of several views that show one object


def best_candidates(output: np.ndarray) -> Objects:
    """Returns the best objects of an output without duplicates, the best first.

    The box of an object is the mean, by score, of all boxes of its class that overlap with its best one as much as
    duplicates do (box voting; Gidaris and Komodakis 2015, section 4.2). Fused objects stay as they are.

    Returns:
        `boxes` in 0..1 of the picture, `labels`, `scores`, and with masks the `logits` of their cells, (N, h, w).
    """
    rows, columns = output[0, :2].astype(int).tolist()
    end = output.shape[1] - rows * columns
    boxes, scores = output[1:, :4], output[1:, 4:end]
    flat = np.where(scores > LEAST_SCORE, scores, 0).ravel()
    best = np.argsort(-flat, kind="stable")[:CANDIDATES]
    best = best[flat[best] > 0]
    place, label = np.divmod(best, scores.shape[1])
    fused = bool(output[0, 2])
    kept = np.arange(len(best)) if fused else suppress(boxes[place], flat[best], label, SUPPRESSED)
    kept = kept[:MOST]
    voted = boxes[place[kept]] if fused else _vote(boxes[place], flat[best], label, kept)
    place, label = place[kept], label[kept].astype(np.int64)
    if not fused and len(kept):  # votes may have moved two boxes to one place
        apart = suppress(voted, scores[place, label], label, SUPPRESSED)
        voted, place, label = voted[apart], place[apart], label[apart]
    found = {"boxes": voted.astype(np.float32), "labels": label, "scores": scores[place, label].astype(np.float32)}
    return found | ({"logits": output[1:][place, end:].reshape(-1, rows, columns)} if rows else {})


def without_masks(output: np.ndarray) -> np.ndarray:
    """Returns an output without the logits of masks, from which the same objects are chosen."""
    rows, columns = output[0, :2].astype(int).tolist()
    boxes = output[:, : output.shape[1] - rows * columns].copy()
    boxes[0, :2] = 0
    return boxes


def _vote(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Averages the boxes that show the same objects as the kept ones, (kept, 4)."""
    same = (box_iou(boxes[kept][:, None], boxes[None]) > SUPPRESSED) & (labels[kept][:, None] == labels)
    same[np.arange(len(kept)), kept] = True  # a box without an area overlaps with none
    votes = same * scores
    return votes / votes.sum(1, keepdims=True) @ boxes


def merge_candidates(outputs: Sequence[np.ndarray], flips: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Fuses the objects of several views of the same pictures; see `Target.merge`."""
    found = [_merge([output[number] for output in outputs], flips) for number in range(len(outputs[0]))]
    longest = max(map(len, found))
    return np.stack([np.pad(rows, ((0, longest - len(rows)), (0, 0))) for rows in found])


def _merge(outputs: Sequence[np.ndarray], flips: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Fuses the objects of one picture to an output like the first one."""
    first, views = outputs[0][:1], [best_candidates(output) for output in outputs]
    rows, columns = first[0, :2].astype(int).tolist()
    for view, axes in zip(views, flips, strict=True):
        view["boxes"] = flipped(view["boxes"], axes)
        if rows:
            masks = np.ascontiguousarray(np.flip(view["logits"], axes))
            masks = [cv2.resize(mask, (columns, rows)) for mask in masks]
            view["logits"] = np.array(masks, np.float32).reshape(-1, rows, columns)
    fused = fuse(views, FUSED)
    merged = np.zeros((len(fused["labels"]), first.shape[1]), np.float32)
    merged[:, :4] = fused["boxes"]
    merged[np.arange(len(merged)), 4 + fused["labels"]] = fused["scores"]
    if rows:
        merged[:, first.shape[1] - rows * columns :] = fused["logits"].reshape(len(merged), -1)
    marked = first.copy()
    marked[:, 2] = 1
    return np.concatenate([marked, merged])
