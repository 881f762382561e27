"""Choice of the images that a report shows: by far not all of a set fit into a page."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import numpy as np

MOST = 120  # pictures in a page


def choose(needs: Iterable[Sequence[int]], most: int = MOST) -> list[int]:
    """Chooses images from several lists of indices, the first of each list, then the second of each, and so on."""
    turns = zip_longest(*needs)
    found = dict.fromkeys(index for turn in turns for index in turn if index is not None)
    return [*found][:most]


def lowest(values: np.ndarray, number: int, where: np.ndarray | None = None) -> list[int]:
    """Returns the indices of the lowest values, float (N,), without NaN; `where` is which count, bool (N,)."""
    order = np.argsort(values, kind="stable")
    kept = np.isfinite(values) if where is None else np.isfinite(values) & where
    return order[kept[order]][:number].tolist()
