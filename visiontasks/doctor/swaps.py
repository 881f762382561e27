"""Masks in which two classes seem to be exchanged.

A model that needs no training, naive Bayes, says how often cells of a color and height in the image have each class, by
all other masks. A mask is suspicious if these frequencies explain it much better with two classes exchanged.
"""

from collections.abc import Iterator

import numpy as np

from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding
from visiontasks.doctor.survey import CELLS

LEVELS, ROWS = 4, 4  # of each color channel, and of the height in the image
PRIOR = 4.0  # cells that the mean frequencies count in each bin
GAIN, TOTAL = 0.9, 25.0  # least logarithm of the ratio of likelihoods, per changed cell and in all
LEAST = 0.04  # share of the cells that are changed
FEWEST = 20  # masks


def check_swaps(evidence: Evidence) -> Iterator[Finding]:
    """Finds masks that the other masks of the set explain better with two classes exchanged."""
    if "train" not in evidence.datasets or len(names := evidence.datasets["train"].names("mask")) < 2:
        return
    images = [(s, i, mask) for s, one in evidence.surveys.items() for i, mask in enumerate(one.masks) if mask]
    images = [(split, i, mask) for split, i, mask in images if not mask.error]
    if len(images) < FEWEST:
        return
    cells = np.stack([mask.cells.ravel() for *_, mask in images])
    bins = np.stack([_bins(evidence.thumbnail(split, i)) for split, i, _ in images])
    places = []
    for (split, i, _), found in zip(images, find_swaps(cells, bins, len(names)), strict=True):
        if found:
            places.append(evidence.place(split, i, f"{names[found[0]]} and {names[found[1]]}"))
    if places:
        message = f"{len(places)} masks look as if two classes were exchanged."
        fix = "Compare these masks with their images, and correct their values."
        yield Finding("swapped_masks", "warning", message, fix, places)


def find_swaps(cells: np.ndarray, bins: np.ndarray, classes: int) -> list[tuple[int, int] | None]:
    """Returns the two classes that are probably exchanged in each mask, or None.

    Args:
        cells: Class of each cell of a mask, uint8 (N, cells); others than the classes are left out.
        bins: Color and height of each cell, int64 (N, cells).
        classes: Number of classes.
    """
    known = cells < classes
    kinds = int(bins.max()) + 1
    codes = bins * classes + np.where(known, cells, 0)
    every = np.bincount(codes[known], minlength=kinds * classes).astype(float).reshape(kinds, classes)
    return [
        _swap(every, codes[i][known[i]], bins[i][known[i]], cells[i][known[i]].astype(int)) for i in range(len(cells))
    ]


def _swap(every: np.ndarray, codes: np.ndarray, bins: np.ndarray, cells: np.ndarray) -> tuple[int, int] | None:
    if not len(cells):
        return None
    kinds, classes = every.shape
    others = every - np.bincount(codes, minlength=kinds * classes).reshape(kinds, classes)
    mean = (others.sum(0) + 1) / (others.sum() + classes)
    logs = np.log((others + PRIOR * mean) / (others.sum(1, keepdims=True) + PRIOR))
    sums = np.zeros((classes, classes))  # of the cells of each class, as each class
    np.add.at(sums, cells, logs[bins])
    own, counts = np.diag(sums), np.bincount(cells, minlength=classes)
    gains = sums + sums.T - own[:, None] - own[None]
    changed = counts[:, None] + counts[None]
    gains[changed < LEAST * CELLS**2] = 0
    gains[gains < np.maximum(TOTAL, GAIN * changed)] = 0
    first, second = np.unravel_index(gains.argmax(), gains.shape)
    return (int(first), int(second)) if gains[first, second] > 0 else None


def _bins(thumbnail: np.ndarray) -> np.ndarray:
    """Returns the color and height of each cell of a thumbnail as one number, int64 (256,)."""
    factor = thumbnail.shape[0] // CELLS
    colors = thumbnail.reshape(CELLS, factor, CELLS, factor, 3).mean((1, 3)).astype(np.int64) * LEVELS // 256
    rows = np.arange(CELLS)[:, None] * ROWS // CELLS
    return (((colors[..., 0] * LEVELS + colors[..., 1]) * LEVELS + colors[..., 2]) * ROWS + rows).ravel()
