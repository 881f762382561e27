"""Which classes are taken for which, and in which images."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from visiontasks.callbacks.results import with_background
from visiontasks.targets import find_target

MOST_COLUMNS = 30  # of a table that is shown
MOST_MISTAKES = 40  # that are listed in place of a larger table

Cell = tuple[int, int]
"""The true and the predicted class."""


class Confusion(NamedTuple):
    """How often classes are taken for others, with the images.

    Attributes:
        names: Names of the classes; of objects the last one is the background.
        numbers: Numbers of images or objects of each cell that is not empty.
        images: Indices of the images of each such cell.
    """

    names: list[str]
    numbers: Counter[Cell]
    images: dict[Cell, list[int]]

    @property
    def is_small(self) -> bool:
        """Whether the whole table can be shown."""
        return len(self.names) <= MOST_COLUMNS

    @property
    def shown(self) -> list[Cell]:
        """The cells that a page shows: all of a small table, and the most frequent mistakes of a large one."""
        order = [cell for cell, _ in self.numbers.most_common()]
        return order if self.is_small else [(row, column) for row, column in order if row != column][:MOST_MISTAKES]


def find_confusion(key: str, counts: np.ndarray, names: Sequence[str]) -> Confusion | None:
    """Counts the confusions of a target; None for one that has none.

    Args:
        key: Key of the target.
        counts: Counts per image, (N, rows, classes).
        names: Names of its classes.
    """
    if key not in PAIRS or len(names) + (key == "objects") < 2:
        return None
    numbers: Counter[Cell] = Counter()
    images: dict[Cell, list[int]] = {}
    for index in range(len(counts)):
        for cell, number in PAIRS[key](counts[index : index + 1]):
            numbers[cell] += number
            images.setdefault(cell, []).append(index)
    return Confusion(with_background([*names]) if key == "objects" else [*names], numbers, images)


def _of_label(counts: np.ndarray) -> Iterator[tuple[Cell, int]]:
    true, taken = counts[0, :2]
    if true.any():
        yield (int(true.argmax()), int(taken.argmax())), 1


def _of_objects(counts: np.ndarray) -> Iterator[tuple[Cell, int]]:
    matrix = find_target("objects").matrices(counts)["confusion"]
    for row, column in zip(*np.nonzero(matrix), strict=True):
        yield (int(row), int(column)), int(matrix[row, column])


PAIRS: dict[str, Callable[[np.ndarray], Iterator[tuple[Cell, int]]]] = {"label": _of_label, "objects": _of_objects}
