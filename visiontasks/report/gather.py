"""What a report knows of each image of a split, from one pass of the model, and of the few images that it shows."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.progress import track
from visiontasks.core.sample import Sample
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.evaluate import Counts, count
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.report.image_measures import measure
from visiontasks.report.layers import Layer, TrueBoxes, difference
from visiontasks.targets import find_target, names_of
from visiontasks.targets.sample import draw_on

SMALL = 500  # images up to which all layers are made at once: faster than a second prediction of those that are shown
BACKGROUND = "background"  # name of the first class of masks that show objects


class Images(NamedTuple):
    """What a model predicts for the images of a split.

    Attributes:
        counts: Of each target, per image; see `Target.counts`.
        names: File names, as the dataset gives them.
        measures: Numbers of each image by name, float64 (N,); NaN where one is unknown. See `measure`; `object size` is
            the mean share of the image that a true object covers.
        scores: Score of the predicted class, float64 (N,), NaN without one.
        values: Predicted numbers, float64 (N, K); (N, 0) without such a head.
        layers: Those of all images of a small split, as of `layers_of`; of a large one, whose masks would take
            gigabytes, there are none.
    """

    counts: Counts
    names: list[str]
    measures: dict[str, np.ndarray]
    scores: np.ndarray
    values: np.ndarray
    layers: dict[int, list[Layer]]


def gather(predictor: Predictor, dataset: VisionDataset, **options: Any) -> Images:
    """Predicts a split; `options` are those of `Predictor.stream`. Raises the errors of `count`."""
    seen = _Seen(predictor, dataset)
    counts = count(predictor, seen, seen.add, **options)
    found = [seen.measures[index] | {"object size": seen.shares[index]} for index in range(len(dataset))]
    measures = {name: np.array([one[name] for one in found], float) for name in found[0]}
    names = [dataset.name(index) for index in range(len(dataset))]
    values = np.array(seen.values, np.float64).reshape(len(dataset), -1)
    return Images(counts, names, measures, np.array(seen.scores, float), values, seen.layers)


def layers_of(
    predictor: Predictor, dataset: VisionDataset, indices: Sequence[int], **options: Any
) -> dict[int, list[Layer]]:
    """Predicts some images again and records the truth, the prediction, and of masks the wrong pixels of each."""
    sources = (Source.of(dataset.name(index), partial(dataset.image, index)) for index in indices)
    stream: Iterable[tuple[Source, Sample]] = track(predictor.stream(sources, **options), "Drawing", len(indices))
    found = {}
    for index, (_, prediction) in zip(indices, stream, strict=True):
        truth = _known(predictor, dataset.truth(index, prediction["size"]))
        found[index] = _layers(truth, prediction, predictor.spec)
    return found


def _layers(truth: Sample, prediction: Sample, spec: dict[str, Any]) -> list[Layer]:
    layers, wrong = [Layer.of(truth, spec), Layer.of(prediction, spec)], difference(truth, prediction)
    return [*layers, wrong] if wrong else layers


def _known(predictor: Predictor, truth: Sample) -> Sample:
    return {key: truth[key] for key in predictor.network.keys if key in truth}


class _Seen(VisionDataset):
    """A split that measures its images while they are read, and records what is predicted."""

    def __init__(self, predictor: Predictor, dataset: VisionDataset) -> None:
        self.predictor, self.dataset = predictor, dataset
        self.measures: dict[int, dict[str, float]] = {}
        self.shares: list[float] = []
        self.scores: list[float] = []
        self.values: list[Sequence[float]] = []
        self.layers: dict[int, list[Layer]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> np.ndarray:
        image = self.dataset.image(index)
        self.measures[index] = measure(image)
        return image

    def name(self, index: int) -> str:
        return self.dataset.name(index)

    def names(self, key: str) -> list[str]:
        return self.dataset.names(key)

    def truth(self, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
        return self.dataset.truth(index, shape)

    def add(self, index: int, truth: Sample, prediction: Sample) -> None:
        """Records what is known and what is predicted of an image."""
        height, width = prediction["size"]
        known, spec = _known(self.predictor, truth), self.predictor.spec
        self.shares.append(object_share(known, spec, height * width))
        self.scores.append(prediction.get("score", np.nan))
        self.values.append(prediction.get("value", ()))
        if len(self) <= SMALL:
            self.layers[index] = _layers(known, prediction, spec)


def object_share(truth: Sample, spec: dict[str, Any], pixels: int) -> float:
    """Returns the mean share of an image that a true object covers; NaN if there is none."""
    draw_on(drawn := TrueBoxes(), truth, spec)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in drawn.boxes]
    for key in truth:
        names = names_of(spec, key)
        if find_target(key).dense and names and names[0].lower() == BACKGROUND and not areas:
            areas = [int(((truth[key] > 0) & (truth[key] < len(names))).sum())]
    return float(np.mean(areas) / pixels) if areas and max(areas) > 0 else np.nan
