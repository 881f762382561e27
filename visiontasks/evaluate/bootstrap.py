"""Confidence intervals of figures."""

from typing import NamedTuple

import numpy as np

from visiontasks.targets import find_target


class Interval(NamedTuple):
    """A figure with its 95 % confidence interval (bootstrap over images)."""

    value: float
    low: float
    high: float


def bootstrap(
    key: str, counts: np.ndarray, draws: int = 2000, other: np.ndarray | None = None
) -> dict[str, list[Interval]]:
    """Computes figures with intervals from images drawn with replacement (Efron and Tibshirani 1993, section 13.3).

    Args:
        key: Key of the target.
        counts: Of each image, (N, rows, classes).
        draws: How many times N images are drawn.
        other: Counts of another model on the same images: the figures are then its figures less those of the first
            model, on the same draws.

    Returns:
        By the names of `Target.figures` one interval, or one for each class.
    """
    rng, number = np.random.default_rng(0), len(counts)
    drawn = [np.bincount(rng.integers(number, size=number), minlength=number) for _ in range(draws)]
    times = np.stack([np.ones(number, int), *drawn])
    kind = find_target(key)
    found = kind.figures(counts, times)
    if other is not None:
        found = {name: values - found[name] for name, values in kind.figures(other, times).items()}
    intervals = {}
    for name, values in found.items():
        columns = values.reshape(len(values), -1)
        # a class that is drawn in no image has no figure there, one that is in none has no interval
        absent = np.isnan(columns[0])
        low, high = np.nanquantile(np.where(absent, 0, columns[1:]), [0.025, 0.975], axis=0)
        low[absent] = high[absent] = np.nan
        intervals[name] = [Interval(*map(float, triple)) for triple in zip(columns[0], low, high, strict=True)]
    return intervals
