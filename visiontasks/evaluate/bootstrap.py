"""How far a figure would be another on other images of the kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from visiontasks.evaluate.counts import figures


class Interval(NamedTuple):
    """A figure with what it would be on other images of the kind: the middle 95 % of the bootstrap over images."""

    value: float
    low: float
    high: float


def bootstrap(
    key: str, counts: np.ndarray, draws: int = 2000, other: np.ndarray | None = None
) -> dict[str, list[Interval]]:
    """Figures with intervals, of images drawn with replacement (Efron and Tibshirani 1993, section 13.3).

    Args:
        key: What was answered.
        counts: Of each image, (N, 3, classes).
        draws: How many times so many images are drawn.
        other: Of another model on the same images: the figures are then its less those of the first, of the same
            draws.

    Returns:
        By the names of `figures` one interval, or one for each class.
    """
    rng, number = np.random.default_rng(0), len(counts)
    models = [counts] if other is None else [counts, other]
    flat = np.concatenate([one.reshape(number, -1) for one in models], 1)
    drawn = [np.bincount(rng.integers(number, size=number), minlength=number) @ flat for _ in range(draws)]
    every = np.stack([flat.sum(0), *drawn])
    parts = [figures(key, part.reshape(-1, *counts.shape[1:])) for part in np.split(every, len(models), 1)]
    found = parts[0] if other is None else {name: parts[1][name] - values for name, values in parts[0].items()}
    intervals = {}
    for name, values in found.items():
        columns = values.reshape(len(values), -1)
        # a class that is drawn in no image has no figure there, one that is in none has no interval
        absent = np.isnan(columns[0])
        low, high = np.nanquantile(np.where(absent, 0, columns[1:]), [0.025, 0.975], axis=0)
        low[absent] = high[absent] = np.nan
        intervals[name] = [Interval(*map(float, triple)) for triple in zip(columns[0], low, high, strict=True)]
    return intervals
