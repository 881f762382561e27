"""Counts of correct and wrong predictions on a split, and figures with confidence intervals."""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import Sample
from visiontasks.data import VisionDataModule
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.targets import find_target, names_of
from visiontasks.targets.sample import predict_sample

Counts = dict[str, np.ndarray]
"""Contribution of each image to the figures, by key, float64 (N, rows, classes); see `Target.counts`."""


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


def count(predictor: Predictor, dataset: VisionDataset, **options: Any) -> Counts:
    """Predicts a dataset (with options of `Predictor.stream`) and counts correct and wrong predictions per image.

    Raises:
        InputError: The dataset has other classes, or lacks a target that the model predicts.
    """
    for key in predictor.network.keys:
        if (known := names_of(predictor.spec, key)) != (found := dataset.names(key)):
            what = find_target(key).names_key
            raise InputError(f"{what}: the data has {found}, the model {known}. Use the config of its training.")
    sources = (Source.of(dataset.name(index), partial(dataset.image, index)) for index in range(len(dataset)))
    stream = track(predictor.stream(sources, **options), "Evaluating", len(dataset), transient=True)
    return _count(predictor.network.keys, dataset, (prediction for _, prediction in stream))


def count_baseline(keys: Iterable[str], data: VisionDataModule, split: str) -> Counts:
    """Counts correct and wrong predictions of the baseline, which depends on the training targets alone."""
    dataset, keys = data.dataset(split), tuple(keys)
    outputs = {key: find_target(key).baseline(data.summary(key)) for key in keys}
    frames = (Frame(*dataset.size(index), data.image_size, data.resize) for index in range(len(dataset)))
    return _count(keys, dataset, (predict_sample(outputs, frame, data.spec) for frame in frames))


def _count(keys: Iterable[str], dataset: VisionDataset, predictions: Iterable[Sample]) -> Counts:
    rows: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    for index, prediction in enumerate(predictions):
        truth = dataset.truth(index, prediction["size"])
        for key, found in rows.items():
            found.append(find_target(key).counts(truth, prediction, dataset.names(key)))
    counts = {key: np.stack(found) for key, found in rows.items()}
    for key, values in counts.items():
        if not np.nan_to_num(values).any():
            raise InputError(f"{key}: no image of this split has such a target. Use another split or dataset.")
    return counts
