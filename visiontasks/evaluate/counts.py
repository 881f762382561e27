"""What a model gets right on a split, image by image."""

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
"""What each image adds to the figures, by key, float64 (N, rows, classes); see `Target.counts`."""


def count(predictor: Predictor, dataset: VisionDataset, **options: Any) -> Counts:
    """Predicts a dataset and counts what is right, image by image.

    Args:
        predictor: The model.
        dataset: Images with targets of the model's keys and classes.
        **options: Of `Predictor.stream`: `batch_size`, `workers`, `tile`, `tta`.

    Raises:
        InputError: The dataset has other classes, or no target for what the model answers.
    """
    for key in predictor.network.keys:
        if names_of(predictor.spec, key) != (found := dataset.names(key)):
            raise InputError(
                f"{find_target(key).names_key}: the data has {found}, the model {names_of(predictor.spec, key)}. Use "
                "the config that it was trained with."
            )
    sources = (Source(dataset.name(index), partial(dataset.image, index)) for index in range(len(dataset)))
    stream = track(predictor.stream(sources, **options), "Evaluating", len(dataset), transient=True)
    return _count(predictor.network.keys, dataset, (prediction for _, prediction in stream))


def count_baseline(keys: Iterable[str], data: VisionDataModule, split: str) -> Counts:
    """Counts what the trivial predictor gets right, which has seen the training targets and no image."""
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
            raise InputError(f"{key}: no image of this split has one to compare with. Use another split or set.")
    return counts
