"""How much better or worse a model is on some images than on the others."""

import numpy as np

from visiontasks.evaluate.evaluation import Interval
from visiontasks.targets.base import Target


def contrast(kind: Target, counts: np.ndarray, name: str, inside: np.ndarray, draws: int = 500) -> Interval:
    """Computes a figure of some images minus that of the others, with the quantiles of images drawn with replacement.

    Args:
        kind: The target kind.
        counts: Counts per image, (N, rows, classes).
        name: A figure of `Target.figures`, not one of each class.
        inside: Which images are meant, bool (N,).
        draws: Number of samples. Those that lack images of either side are left out.

    Returns:
        The difference with its 95 % interval; NaN if either side has no figure.
    """
    if inside.all() or not inside.any():
        return Interval(np.nan, np.nan, np.nan)
    rng, number = np.random.default_rng(0), len(counts)
    times = np.stack([np.bincount(rng.integers(number, size=number), minlength=number) for _ in range(draws)])
    times = np.concatenate([np.ones((1, number), times.dtype), times])
    own, rest = (kind.figures(counts[side], times[:, side])[name] for side in (inside, ~inside))
    value, *drawn = own - rest
    known = np.array(drawn)[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(known):
        return Interval(np.nan, np.nan, np.nan)
    return Interval(float(value), *map(float, np.quantile(known, [0.025, 0.975])))
