"""Parts of a split on which a model is better or worse than on the rest."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from visiontasks.evaluate.contrast import contrast
from visiontasks.evaluate.evaluation import Interval
from visiontasks.report.quality import Quality

BINS = 4
FEWEST = 8  # images on either side
MOST_CLASSES = 40
MOST_WEIGHTS = 10_000_000  # draws x images


class Part(NamedTuple):
    """Some images of a split: the property they share, its value in words, and which they are, bool (N,)."""

    title: str
    value: str
    inside: np.ndarray


class Slice(NamedTuple):
    """A part with the figure of its images, that of the rest, and the difference.

    Attributes:
        part: The images.
        value: The figure of its images.
        rest: The figure of the others.
        effect: The difference.
        clarity: The bound of the interval that is nearer to 0, turned so that more is worse; above 0, the part is
            clearly worse.
    """

    part: Part
    value: float
    rest: float
    effect: Interval
    clarity: float


def bins(title: str, values: np.ndarray, unit: str = "") -> Iterator[Part]:
    """Divides images by the quantiles of a number, float (N,), into at most four parts; NaN is in none."""
    known = np.isfinite(values)
    if not known.any():
        return
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)))
    for place, (low, high) in enumerate(pairwise(edges)):
        inside = known & (values >= low) & ((values < high) if place < len(edges) - 2 else (values <= high))
        yield Part(title, f"{_short(low)} to {_short(high)}{unit}", inside)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def of_classes(title: str, names: Sequence[str], occurs: np.ndarray) -> Iterator[Part]:
    """Makes a part of the images with each class, of many classes the most frequent; `occurs` is bool (N, classes)."""
    for place in np.argsort(-occurs.sum(0), kind="stable")[:MOST_CLASSES]:
        yield Part(title, names[place], occurs[:, place])


def find_slices(quality: Quality, parts: Iterable[Part]) -> list[Slice]:
    """Compares the parts with the rest, the clearly worse ones first; parts of a few images are left out."""
    found, known = [], np.isfinite(quality.of_images())
    counts = quality.counts[known]
    draws = min(500, max(100, MOST_WEIGHTS // max(1, len(counts))))
    for part in parts:
        inside = part.inside[known]
        if min(inside.sum(), (~inside).sum()) < FEWEST:
            continue
        value, rest = (float(quality.kind.figures(counts[side])[quality.name]) for side in (inside, ~inside))
        effect = contrast(quality.kind, counts, quality.name, inside, draws)
        worst = [bound * -quality.sign for bound in effect[1:]]
        if np.isfinite(worst).all():
            found.append(Slice(part, value, rest, effect, min(worst)))
    return sorted(found, key=lambda one: -one.clarity)
