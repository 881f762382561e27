"""All objects of one image, and the suppression of boxes that show the same one.

Objects are a dict of arrays with one row per object. Absent keys are absent.

| key | array | meaning |
|---|---|---|
| `boxes` | float32 (N, 4) | xyxy in pixels |
| `labels` | int64 (N,) | class indices; -1 is a region of any class, which is a crowd |
| `crowd` | bool (N,) | true objects: regions that are left out of losses and figures (COCO's `iscrowd`) |
| `scores` | float32 (N,) | predicted objects: 0..1 |
| `visible` | float32 (N,) | share of an object's area that the augmentation has left so far |
| `masks` | bool (N, H, W) | the pixels of each object, if they are known |
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from visiontasks.core.geometry import box_iou

Objects = dict[str, np.ndarray]
VISIBLE = 0.4  # share of an object's area that must be left after the augmentation
LOOSE = 2  # pixels by which a moved box may be larger than its mask: boxes in files are rounded


def make_objects(
    boxes: Sequence[Any] | np.ndarray, labels: Sequence[int] | np.ndarray, crowd: Sequence[bool] | None = None
) -> Objects:
    """Makes true objects of lists, which may be empty."""
    made = {"boxes": np.array(boxes, np.float32).reshape(-1, 4), "labels": np.array(labels, np.int64)}
    return {**made, "crowd": np.zeros(len(made["labels"]), bool) if crowd is None else np.array(crowd, bool)}


def take(objects: Objects, chosen: Any) -> Objects:
    """Selects objects by an index array or by a bool for each."""
    return {key: part[chosen] for key, part in objects.items()}


def area(boxes: np.ndarray) -> np.ndarray:
    """Computes the areas of boxes xyxy (..., 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).clip(0).prod(-1)


def suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou: float) -> np.ndarray:
    """Returns the indices of the boxes that remain after non-maximum suppression in each class, best first.

    Args:
        boxes: Float (N, 4), xyxy.
        scores: Float (N,).
        labels: Int (N,).
        iou: Overlap above which the box with the lower score is removed.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, labels = boxes[order], labels[order]
    overlaps = (box_iou(boxes[:, None], boxes[None]) > iou) & (labels[:, None] == labels)
    kept = np.ones(len(order), bool)
    for place in range(len(order)):
        if kept[place]:
            kept[place + 1 :] &= ~overlaps[place, place + 1 :]
    return order[kept]


def seen(objects: Objects, least: float = 1.0) -> Objects:
    """Selects the objects that are `visible` enough, with sides of `least` pixels or more.

    A crowd stays while any part of it is left, because it would become background.
    """
    sides = (objects["boxes"][:, 2:] - objects["boxes"][:, :2]).min(1, initial=np.inf)
    clear = (objects["visible"] >= VISIBLE) & (sides >= least)
    if "masks" in objects:
        clear &= objects["masks"].any((1, 2))
    return take(objects, np.where(objects["crowd"], sides > 0, clear))


def tightened(boxes: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Moves sides of boxes that are far from the pixels of their masks to them: those of turned objects are."""
    found = boxes.copy()
    for box, mask in zip(found, masks, strict=True):
        left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
        bounds = np.array([left, top, left + width, top + height], np.float32)
        far = np.abs(box - bounds) > LOOSE
        box[far & (width > 0)] = bounds[far & (width > 0)]
    return found


def fuse(views: Sequence[Objects], iou: float) -> Objects:
    """Averages the predicted objects of several views of one image (Solovyev, Wang and Gabruseva 2021, section 2.2).

    The best box of each view that overlaps with the best one of all, of the same class, shows the same object: its box
    is their mean by score, its score their sum, divided by the number of views.

    Args:
        views: `boxes`, `labels` and `scores` of each view, without duplicates; other keys are averaged as boxes are.
        iou: Overlap from which on boxes show one object.
    """
    every = {key: np.concatenate([view[key] for view in views]) for key in views[0]}
    every["view"] = np.repeat(np.arange(len(views)), [len(view["labels"]) for view in views])
    every = take(every, np.argsort(-every["scores"], kind="stable"))
    boxes, labels, view = every["boxes"], every["labels"], every["view"]
    fused = {key: part.copy() for key, part in every.items() if key != "view"}
    near = (box_iou(boxes[:, None], boxes[None]) > iou) & (labels[:, None] == labels)
    free, kept = np.ones(len(labels), bool), []
    for place in range(len(labels)):
        if free[place]:
            others = np.flatnonzero(free & near[place] & (view != view[place]))
            same = [place, *others[np.unique(view[others], return_index=True)[1]]]
            free[same] = False
            for key in fused.keys() - {"labels", "scores"}:
                fused[key][place] = np.average(every[key][same], axis=0, weights=every["scores"][same])
            fused["scores"][place] = every["scores"][same].sum() / len(views)
            kept.append(place)
    return take(fused, np.array(kept, int))


def pair_objects(first: Objects, second: Objects, iou: float, score: float) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Pairs the objects of two predictions one to one.

    Args:
        first: A prediction.
        second: Another one of the same image.
        iou: Least IoU of the boxes of a pair, whose classes are equal.
        score: Largest difference of their scores.

    Returns:
        The pairs, the most similar scores first, and the differences of all scores, float (first, second).
    """
    far = np.abs(first["scores"][:, None] - second["scores"])
    same = (first["labels"][:, None] == second["labels"]) & (far <= score)
    same &= box_iou(first["boxes"][:, None], second["boxes"][None]) >= iou
    pairs = []
    for place in np.argsort(far, axis=None, kind="stable").tolist():
        one, other = divmod(place, far.shape[1])
        if same[one, other]:
            pairs.append((one, other))
            same[one], same[:, other] = False, False
    return pairs, far
