"""Masks in which two classes seem to be exchanged.

A model that needs no training, naive Bayes, says how often cells of each class have a color and height, and a place in
the image, by all other masks. A mask is suspicious if the cells of two classes are each more like those of the other
class, and the two are told apart well in most masks.
"""

from collections.abc import Iterator

import numpy as np

from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding
from visiontasks.doctor.survey import CELLS

LEVELS, ROWS, PLACES = 4, 4, 8  # of each color channel, of the height beside the color, and of a place per side
PRIOR = 50.0  # cells that the mean frequencies count in each class
CLEAR = 0.8  # logarithm of the ratio of likelihoods per cell, by which most masks tell two classes apart
GAIN, SHARE, TOTAL = 0.2, 0.4, 20.0  # least gain per cell, as a share of what is usual for the classes, and in all
LEAST, CHANGED = 10, 20  # cells of each class, and of both
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
    colors = np.stack([_colors(evidence.thumbnail(split, i)) for split, i, _ in images])
    places = []
    for (split, i, _), found in zip(images, find_swaps(cells, colors, len(names)), strict=True):
        if found:
            places.append(evidence.place(split, i, f"{names[found[0]]} and {names[found[1]]}"))
    if places:
        message = f"Two classes seem to be exchanged in {len(places)} of {len(images)} masks."
        fix = "Compare these masks with their images, and correct their values."
        yield Finding("swapped_masks", "warning", message, fix, places)


def find_swaps(cells: np.ndarray, colors: np.ndarray, classes: int) -> list[tuple[int, int] | None]:
    """Returns the two classes that are probably exchanged in each mask, or None.

    Args:
        cells: Class of each of 16 x 16 cells of a mask, uint8 (N, 256); others than the classes are left out.
        colors: Color and height of each cell as a number, int64 (N, 256).
        classes: Number of classes.
    """
    places = np.broadcast_to(_places(), cells.shape)
    gains = _gains(cells, colors, classes) + _gains(cells, places, classes)
    counts = np.stack([np.bincount(one[one < classes], minlength=classes) for one in cells])
    least, both = np.minimum(counts[:, :, None], counts[:, None]), counts[:, :, None] + counts[:, None]
    every = gains + gains.swapaxes(1, 2)
    per_cell = np.where(both >= CHANGED, every / np.maximum(both, 1), np.nan)
    usual = np.array([[_median(column) for column in row] for row in np.moveaxis(per_cell, 0, -1)])
    found = (usual <= -CLEAR) & (per_cell >= np.maximum(GAIN, -SHARE * usual)) & (every >= TOTAL)
    found &= (least >= LEAST) & (np.minimum(gains, gains.swapaxes(1, 2)) > 0)
    scores = np.where(found, every, 0).reshape(len(cells), -1)
    best = scores.argmax(1)
    return [
        divmod(int(place), classes) if score > 0 else None for place, score in zip(best, scores.max(1), strict=True)
    ]


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0


def _gains(cells: np.ndarray, bins: np.ndarray, classes: int) -> np.ndarray:
    """Returns how much more likely the cells of each class are as another one: float64 (N, classes, classes)."""
    known, kinds = cells < classes, int(bins.max()) + 1
    codes = bins * classes + np.where(known, cells, 0)
    tables = (np.bincount(one[mask], minlength=kinds * classes) for one, mask in zip(codes, known, strict=True))
    every = np.bincount(codes[known], minlength=kinds * classes)
    return np.stack([_gain(table.reshape(kinds, classes), every.reshape(kinds, classes)) for table in tables])


def _gain(own: np.ndarray, every: np.ndarray) -> np.ndarray:
    others = (every - own).astype(float)
    mean = (others.sum(1, keepdims=True) + 1) / (others.sum() + len(others))
    logs = np.log((others + PRIOR * mean) / (others.sum(0) + PRIOR))
    sums = own.T @ logs  # of the cells of each class, as each class
    return sums - np.diag(sums)[:, None]


def _places() -> np.ndarray:
    """Returns the place of each cell as one number, int64 (256,)."""
    rows = np.arange(CELLS) * PLACES // CELLS
    return (rows[:, None] * PLACES + rows[None]).ravel()


def _colors(thumbnail: np.ndarray) -> np.ndarray:
    """Returns the color and height of each cell of a thumbnail as one number, int64 (256,)."""
    factor = thumbnail.shape[0] // CELLS
    colors = thumbnail.reshape(CELLS, factor, CELLS, factor, 3).mean((1, 3)).astype(np.int64) * LEVELS // 256
    rows = np.arange(CELLS)[:, None] * ROWS // CELLS
    return (((colors[..., 0] * LEVELS + colors[..., 1]) * LEVELS + colors[..., 2]) * ROWS + rows).ravel()
