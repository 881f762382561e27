"""Counts of correct and wrong predictions on a split, and figures with confidence intervals."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.progress import track
from visiontasks.core.sample import Sample
from visiontasks.data import VisionDataModule
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.targets import find_target, is_empty, names_of
from visiontasks.targets.sample import predict_sample

Observer = Callable[[int, Sample, Sample], None]
"""Gets the index, the truth and the prediction of each image in turn."""
Counts = dict[str, np.ndarray]
"""Contribution of each image to the figures, by key, float64 (N, rows, classes); see `Target.counts`."""


class Interval(NamedTuple):
    """A figure with its 95 % confidence interval; see `bootstrap`."""

    value: float
    low: float
    high: float


def bootstrap(
    key: str, counts: np.ndarray, draws: int = 2000, other: np.ndarray | None = None
) -> dict[str, list[Interval]]:
    """Computes figures with intervals from images drawn with replacement.

    A figure between 0 and 1 has the score interval of a share with the standard error of the draws, which covers the
    true value near 0 and 1 too; see `share_interval`. Other figures and differences have the quantiles of the draws
    (Efron and Tibshirani 1993, section 13.3). In large sets, the average precision of a draw is that of a linear
    approximation; see `Target.is_exact`.

    Args:
        key: Key of the target.
        counts: Counts per image, (N, rows, classes).
        draws: Number of samples of N images.
        other: Counts of another model on the same images. The result is then its figures minus those of the first
            model, on the same draws.

    Returns:
        One interval, or one per class, for each name of `Target.figures`.
    """
    rng, kind, number = np.random.default_rng(0), find_target(key), len(counts)
    times = np.stack([np.bincount(rng.integers(number, size=number), minlength=number) for _ in range(draws)])
    values, drawn = kind.figures(counts), kind.figures(counts, times)
    sizes = kind.sizes(counts) if kind.bounded and other is None else {}
    if other is not None:
        values = {name: value - values[name] for name, value in kind.figures(other).items()}
        drawn = {name: value - drawn[name] for name, value in kind.figures(other, times).items()}
    intervals = {}
    for name, found in drawn.items():
        value, found = np.atleast_1d(values[name]), found.reshape(len(found), -1)
        absent = np.isnan(value)  # classes in no image; a class may also be in no drawn image
        found = np.where(absent, 0, found)
        if name in sizes:
            low, high = share_interval(value, np.nanvar(found, 0), np.atleast_1d(sizes[name]))
        else:
            low, high = np.nanquantile(found, [0.025, 0.975], axis=0)
        low, high = (np.where(absent, np.nan, bound) for bound in (low, high))
        intervals[name] = [Interval(*map(float, triple)) for triple in zip(value, low, high, strict=True)]
    return intervals


def describe_intervals(counts: Counts, draws: int) -> str:
    """Says where the intervals of `bootstrap` come from."""
    large = [key for key, values in counts.items() if not find_target(key).is_exact(values, draws)]
    note = f"; average precision of {', '.join(large)} to first order, large set" if large else ""
    return f"95 % intervals from {draws:,} draws of the images{note}"


def share_interval(value: np.ndarray, variance: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the 95 % score interval with continuity correction of shares (Newcombe 1998, method 4).

    Args:
        value: The shares, 0..1.
        variance: Their squared standard errors, which set the effective number of images, p (1 - p) / variance (Korn
            and Graubard 1998).
        size: Numbers of images, which count where the variance is 0, for example where all predictions are right.

    Returns:
        The lower and the upper ends.
    """
    z, p, spread = 1.959964, value, value * (1 - value)
    n = np.maximum(np.divide(spread, variance, out=size.astype(float), where=spread * variance > 0), 1)
    below = z * np.sqrt(np.maximum(z**2 - 2 - 1 / n + 4 * p * (n * (1 - p) + 1), 0))
    above = z * np.sqrt(np.maximum(z**2 + 2 - 1 / n + 4 * p * (n * (1 - p) - 1), 0))
    low, high = ((2 * n * p + z**2 + part) / (2 * (n + z**2)) for part in (-1 - below, 1 + above))
    return np.minimum(low.clip(0), p), np.maximum(high.clip(max=1), p)


def count(predictor: Predictor, dataset: VisionDataset, observer: Observer | None = None, **options: Any) -> Counts:
    """Predicts a dataset (with options of `Predictor.stream`) and counts correct and wrong predictions per image.

    Args:
        predictor: The model.
        dataset: The split.
        observer: If given, is called for each image.
        **options: Options of `Predictor.stream`.

    Raises:
        InputError: The dataset has other classes, or lacks a target that the model predicts.
    """
    for key in predictor.network.keys:
        if (known := names_of(predictor.spec, key)) != (found := dataset.names(key)):
            what = find_target(key).names_key
            raise InputError(f"{what}: the data has {found}, the model {known}. Use the config of its training.")
    sources = (Source.of(dataset.name(index), partial(dataset.image, index)) for index in range(len(dataset)))
    stream = track(predictor.stream(sources, **options), "Evaluating", len(dataset))
    return _count(predictor.network.keys, dataset, (prediction for _, prediction in stream), observer)


def count_baseline(keys: Iterable[str], data: VisionDataModule, split: str) -> Counts:
    """Counts correct and wrong predictions of the baseline, which depends on the training targets alone."""
    dataset, keys = data.dataset(split), tuple(keys)
    outputs = {key: find_target(key).baseline(data.summary(key)) for key in keys}
    frames = (Frame(*dataset.size(index), data.image_size, data.resize) for index in range(len(dataset)))
    return _count(keys, dataset, (predict_sample(outputs, frame, data.spec) for frame in frames))


def _count(
    keys: Iterable[str], dataset: VisionDataset, predictions: Iterable[Sample], observer: Observer | None = None
) -> Counts:
    rows: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    for index, prediction in enumerate(predictions):
        truth = dataset.truth(index, prediction["size"])
        for key, found in rows.items():
            found.append(find_target(key).counts(truth, prediction, dataset.names(key)))
        if observer:
            observer(index, truth, prediction)
    counts = {key: np.stack(found) for key, found in rows.items()}
    for key, values in counts.items():
        if is_empty(find_target(key).figures(values)):
            raise InputError(f"{key}: no image of this split has such a target. Use another split or dataset.")
    return counts
