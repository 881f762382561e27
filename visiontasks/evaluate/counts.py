"""Counts of correct and wrong predictions on a split, per image."""

from collections.abc import Iterable
from functools import partial
from typing import Any

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


def count(predictor: Predictor, dataset: VisionDataset, **options: Any) -> Counts:
    """Predicts a dataset (with options of `Predictor.stream`) and counts correct and wrong predictions per image.

    Raises:
        InputError: The dataset has other classes, or lacks a target that the model predicts.
    """
    for key in predictor.network.keys:
        if (known := names_of(predictor.spec, key)) != (found := dataset.names(key)):
            what = find_target(key).names_key
            raise InputError(f"{what}: the data has {found}, the model {known}. Use the config of its training.")
    sources = (Source(dataset.name(index), partial(dataset.image, index)) for index in range(len(dataset)))
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
