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
        counts: Counts per image, (N, rows, classes).
        draws: Number of samples of N images.
        other: Counts of another model on the same images. The result is then its figures minus those of the first
            model, on the same draws.

    Returns:
        One interval, or one per class, for each name of `Target.figures`.
    """
    rng, number = np.random.default_rng(0), len(counts)
    drawn = [np.bincount(rng.integers(number, size=number), minlength=number) for _ in range(draws)]
    times = np.stack([np.ones(number, int), *drawn])
    found = find_target(key).figures(counts, times)
    if other is not None:
        found = {name: values - found[name] for name, values in find_target(key).figures(other, times).items()}
    intervals = {}
    for name, values in found.items():
        columns = values.reshape(len(values), -1)
        absent = np.isnan(columns[0])  # classes in no image; a class may also be in no drawn image
        low, high = np.nanquantile(np.where(absent, 0, columns[1:]), [0.025, 0.975], axis=0)
        low[absent] = high[absent] = np.nan
        intervals[name] = [Interval(*map(float, triple)) for triple in zip(columns[0], low, high, strict=True)]
    return intervals
