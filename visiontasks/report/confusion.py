"""Which classes are taken for which, and in which images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from visiontasks.callbacks.results import with_background
from visiontasks.targets import find_target


class Confusion(NamedTuple):
    """A table of true by predicted classes with the images of each cell.

    Attributes:
        names: Names of the rows and columns; of objects the last one is the background.
        matrix: Numbers of images or objects, int64 (C, C), rows true.
        cells: Indices of the images by row and column.
    """

    names: list[str]
    matrix: np.ndarray
    cells: dict[tuple[int, int], list[int]]


def find_confusion(key: str, counts: np.ndarray, names: Sequence[str]) -> Confusion | None:
    """Returns the confusion matrix of a target, or None for one that has none.

    Args:
        key: Key of the target.
        counts: Counts per image, (N, rows, classes).
        names: Names of its classes.
    """
    if key not in PER_IMAGE or len(names) + (key == "objects") < 2:
        return None
    found = [PER_IMAGE[key](counts[index : index + 1]) for index in range(len(counts))]
    cells: dict[tuple[int, int], list[int]] = {}
    for index, matrix in enumerate(found):
        for row, column in zip(*np.nonzero(matrix), strict=True):
            cells.setdefault((int(row), int(column)), []).append(index)
    whole = np.sum(found, axis=0)
    return Confusion(with_background([*names]) if len(whole) > len(names) else [*names], whole, cells)


def _of_label(counts: np.ndarray) -> np.ndarray:
    true, taken = counts[0, :2]
    return np.outer(true, taken).astype(np.int64)


def _of_objects(counts: np.ndarray) -> np.ndarray:
    return find_target("objects").matrices(counts)["confusion"]


PER_IMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {"label": _of_label, "objects": _of_objects}
