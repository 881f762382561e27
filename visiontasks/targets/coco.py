"""Average precision as COCO computes it, from records of single images that can be drawn with replacement.

The figures equal those of pycocotools. Its own code keeps no records of single images, which intervals need.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from visiontasks.core.objects import Objects, area

IOUS = np.linspace(0.5, 0.95, 10)
AREAS = {"": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}  # pixels of the image
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # objects per image
CHUNK = 128  # draws at a time, which fit into the cache of a processor
BITS = 2 ** np.arange(len(IOUS) * len(AREAS), dtype=np.int64)  # exact in float64


def match(truth: Objects, found: Objects, classes: int, taken: np.ndarray) -> np.ndarray:
    """Matches the predicted objects of one image with the true ones; by their masks if both have them.

    Args:
        truth: True objects with `crowd`.
        found: At most 100 predicted objects with `scores`.
        classes: Number of classes.
        taken: Which predictions count as decisions, bool (N,).

    Returns:
        Float64 (100 + classes, 7). Each of the first rows is a predicted object: its class (-1 if there is none),
        score, bits of the areas and IoUs at which it is right, and at which it is ignored, and whether it is taken;
        and, of the true object of any class that it overlaps most, by at least 0.5, the index (-1 if there is none, -2
        if there is only a crowd) and the class. The others have the number of true objects of a class in each area.
    """
    if "masks" not in found or "masks" not in truth:
        found, truth = ({key: part for key, part in one.items() if key != "masks"} for one in (found, truth))
    order = np.argsort(-found["scores"], kind="stable")[:MOST]
    number, sizes = len(order), _sizes(truth)
    limits = np.array([*AREAS.values()])[:, :, None]
    ignored = truth["crowd"] | (sizes < limits[:, 0]) | (sizes > limits[:, 1])  # (areas, true)
    same = (found["labels"][:, None] == truth["labels"]) | (truth["labels"] < 0)
    every = overlap(found, truth)
    overlaps = np.where(same, every, -1)[order]
    right, out = _assign(overlaps, ignored, truth["crowd"])
    own = _sizes(found)[order]
    outside = (own < limits[:, 0]) | (own > limits[:, 1])
    out |= ~right & ~out & outside.T[:, :, None]  # an unmatched one of another size
    counts = np.zeros((MOST + classes, 7))
    counts[:MOST, 0] = -1
    counts[:number, 0], counts[:number, 1] = found["labels"][order], found["scores"][order]
    counts[:number, 2], counts[:number, 3] = (part.reshape(number, len(BITS)) @ BITS for part in (right, out))
    counts[:number, 4] = taken[order]
    counts[:number, 5:] = _nearest(every[order], truth)
    for label, kept in zip(truth["labels"], ~ignored.T, strict=True):
        counts[MOST + max(label, 0), :4] += kept
    return counts


def _assign(overlaps: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives each prediction, best first, the free true object with which it overlaps most, one that counts if it can.

    Returns:
        Whether it is right, and whether it is ignored, for each area and IoU: bool (predicted, areas, IoUs).
    """
    shape = len(overlaps), len(AREAS), len(IOUS)
    right, out = np.zeros(shape, bool), np.zeros(shape, bool)
    free = np.ones((*shape[1:], overlaps.shape[1]), bool)
    least = np.minimum(IOUS, 1 - 1e-10)[:, None]
    for place in np.flatnonzero((overlaps >= least[0]).any(1)):
        open_ = free & (overlaps[place] >= least)
        counted, rest = open_ & ~ignored[:, None], open_ & ignored[:, None]
        right[place] = counted.any(-1)
        out[place] = ~right[place] & rest.any(-1)
        chosen = np.where(np.where(right[place][..., None], counted, rest), overlaps[place], -1)
        last = chosen.shape[-1] - 1 - chosen[..., ::-1].argmax(-1)  # of equal ones the last, as pycocotools does
        used = np.arange(chosen.shape[-1]) == last[..., None]
        free &= ~(used & (right[place] | out[place])[..., None]) | crowd
    return right, out


def _nearest(overlaps: np.ndarray, truth: Objects) -> np.ndarray:
    """Returns the index and the class of the true object that each prediction overlaps most; see `match`: (N, 2)."""
    if not len(truth["labels"]):
        return np.full((len(overlaps), 2), -1)
    near = overlaps >= IOUS[0]
    index = np.where(near & ~truth["crowd"], overlaps, -1).argmax(1)
    counted, crowd = (near & ~truth["crowd"]).any(1), near.any(1)
    labels = np.where(counted, truth["labels"][index], -1)
    return np.stack([np.where(counted, index, np.where(crowd, -2, -1)), labels], 1)


def confusion(counts: np.ndarray) -> np.ndarray:
    """Counts the true objects (rows) by the class of the taken prediction that shows them (columns), whatever it is.

    Of several predictions of one object the best counts; the others, and those of no object, are in the last row. The
    last column has the objects that were not found.

    Args:
        counts: Of images, float64 (N, 100 + classes, 7); see `match`.

    Returns:
        Int64 (classes + 1, classes + 1).
    """
    classes = counts.shape[1] - MOST
    image, place = np.nonzero((counts[:, :MOST, 0] >= 0) & (counts[:, :MOST, 4] > 0) & (counts[:, :MOST, 5] > -2))
    taken, _, _, _, _, index, true = counts[image, place].T.astype(int)
    _, first = np.unique(np.stack([image, index]), axis=1, return_index=True)
    found = np.isin(np.arange(len(image)), first) & (index >= 0)
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(matrix, (np.where(found, true, classes), taken), 1)
    matrix[:classes, classes] = counts[:, MOST:, 0].sum(0) - matrix[:classes, :classes].sum(1)
    return matrix


def _sizes(objects: Objects) -> np.ndarray:
    """Returns the pixels of each object, of its mask if it has one, else of its box: float64 (N,)."""
    if "masks" in objects:
        return objects["masks"].sum((1, 2)).astype(np.float64)
    return area(objects["boxes"].astype(np.float64))


def overlap(found: Objects, truth: Objects) -> np.ndarray:
    """Computes the IoU of each predicted and true object, or, of a crowd, the share of the prediction inside it:
    float64 (predicted, true)."""
    if "masks" in found:
        size = int(np.prod(found["masks"].shape[1:]))
        pixels = [part["masks"].reshape(len(part["masks"]), size).astype(np.float32) for part in (found, truth)]
        inside = (pixels[0] @ pixels[1].T).astype(np.float64)
    else:
        first, second = found["boxes"].astype(np.float64)[:, None], truth["boxes"].astype(np.float64)
        low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
        inside = (high - low).clip(0).prod(-1)
    own = _sizes(found)[:, None]
    union = np.where(truth["crowd"], own, own + _sizes(truth) - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


class Ranked(NamedTuple):
    """The predictions of one class on all images, the best first.

    Attributes:
        image: Place of the image, int (R,).
        score: float64 (R,).
        right, ignored: bool (R, areas, IoUs).
        taken: bool (R,).
        true: Number of true objects of each image and area, float64 (N, areas).
    """

    image: np.ndarray
    score: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    taken: np.ndarray
    true: np.ndarray


def ranked(counts: np.ndarray) -> Iterator[Ranked]:
    """Yields the predictions of each class from the counts of images, float64 (N, 100 + classes, 7); see `match`."""
    for label in range(counts.shape[1] - MOST):
        image, place = np.nonzero(counts[:, :MOST, 0] == label)
        rows = counts[image, place]
        order = np.argsort(-rows[:, 1], kind="stable")
        image, rows = image[order], rows[order]
        right, ignored = (
            (rows[:, column, None].astype(np.int64) & BITS > 0).reshape(-1, len(AREAS), len(IOUS)) for column in (2, 3)
        )
        yield Ranked(image, rows[:, 1], right, ignored, rows[:, 4] > 0, counts[:, MOST + label, : len(AREAS)])


def average_precision(found: Ranked, place: int, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the average precision and the recall in one area at each IoU, NaN without a true object: (draws, IoUs).

    The precision at a recall is the highest one at this or a higher recall, at 101 recalls (Lin et al. 2014, and the
    code of pycocotools).

    Args:
        found: Predictions of a class.
        place: Index of the area.
        draws: How often each image counts, float64 (draws, N).
    """
    times = np.ascontiguousarray(draws.T, np.float32)  # whole numbers; a row is an image, so that sums are fast
    total = draws @ found.true[:, place]
    values, recalls = (np.full((len(draws), len(IOUS)), np.nan) for _ in range(2))
    for column in range(len(IOUS)):
        hits = np.flatnonzero(found.right[:, place, column])  # the precision is never highest elsewhere
        counted = np.flatnonzero(~found.ignored[:, place, column])
        ends = np.searchsorted(counted, hits)
        starts = np.append(0, ends + 1)[: len(hits)]
        image = found.image[counted[: ends[-1] + 1]] if len(hits) else hits
        for first in range(0, len(draws), CHUNK):
            part = slice(first, first + CHUNK)
            weights = np.ascontiguousarray(times[:, part])
            taken = np.add.reduceat(weights[image], starts, axis=0) if len(hits) else weights[:0]
            curve = _area_under(weights[found.image[hits]].cumsum(0), taken.cumsum(0), total[part])
            values[part, column], recalls[part, column] = curve
    return values, recalls


def _area_under(right: np.ndarray, taken: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the area under the curve and the last recall from the sums at each hit, (hits, draws): (draws,)."""
    known = np.where(total > 0, 0.0, np.nan)
    if not len(right):
        return known, known
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.nan_to_num(right / total)
        precision = np.nan_to_num(np.divide(right, taken, dtype=np.float64))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    near = (recall * (len(RECALLS) - 1)).astype(int)  # the index of the last recall that is reached, up to rounding
    reached = near + 1 - (recall < RECALLS[near]) + (recall >= np.append(RECALLS, np.inf)[near + 1])
    steps = np.diff(reached, axis=0, prepend=0)
    return known + (best * steps).sum(0) / len(RECALLS), known + recall[-1]
