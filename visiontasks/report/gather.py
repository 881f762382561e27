"""What a report knows of each image of a split, from one pass of the model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.sample import Sample
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.evaluate import Counts, count
from visiontasks.predict.predictor import Predictor
from visiontasks.report.image_measures import measure
from visiontasks.report.layers import Layer, difference
from visiontasks.targets import find_target, names_of

BACKGROUND = "background"  # name of the first class of masks that show objects


class Images(NamedTuple):
    """What a model predicts for the images of a split.

    Attributes:
        counts: Of each target, per image; see `Target.counts`.
        names: File names, as the dataset gives them.
        sizes: Heights and widths.
        measures: Numbers of each image by name, float64 (N,); NaN where one is unknown. See `measure`; `object size` is
            the mean share of the image that a true object covers.
        scores: Score of the predicted class, float64 (N,), NaN without one.
        values: Predicted numbers, float64 (N, K); (N, 0) without such a head.
        layers: Of each image: the truth, the prediction, and for masks the wrong pixels.
    """

    counts: Counts
    names: list[str]
    sizes: list[tuple[int, int]]
    measures: dict[str, np.ndarray]
    scores: np.ndarray
    values: np.ndarray
    layers: list[list[Layer]]


def gather(predictor: Predictor, dataset: VisionDataset, **options: Any) -> Images:
    """Predicts a split; `options` are those of `Predictor.stream`. Raises the errors of `count`."""
    seen = _Seen(predictor, dataset)
    counts = count(predictor, seen, seen.add, **options)
    found = [seen.measures[index] | {"object size": seen.shares[index]} for index in range(len(dataset))]
    measures = {name: np.array([one[name] for one in found], float) for name in found[0]}
    names = [dataset.name(index) for index in range(len(dataset))]
    values = np.array(seen.values, np.float64).reshape(len(dataset), -1)
    return Images(counts, names, seen.sizes, measures, np.array(seen.scores, float), values, seen.layers)


class _Seen(VisionDataset):
    """A split that measures its images while they are read, and records what is predicted."""

    def __init__(self, predictor: Predictor, dataset: VisionDataset) -> None:
        self.spec, self.keys, self.dataset = predictor.spec, predictor.network.keys, dataset
        self.measures: dict[int, dict[str, float]] = {}
        self.sizes: list[tuple[int, int]] = []
        self.shares: list[float] = []
        self.scores: list[float] = []
        self.values: list[Sequence[float]] = []
        self.layers: list[list[Layer]] = []

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
        truth = {key: truth[key] for key in self.keys if key in truth}
        layers = [Layer.of(truth, self.spec), Layer.of(prediction, self.spec)]
        wrong = difference(truth, prediction)
        self.sizes.append((height, width))
        self.layers.append([*layers, wrong] if wrong else layers)
        self.shares.append(self._object_share(layers[0], truth, height * width))
        self.scores.append(prediction.get("score", np.nan))
        self.values.append(prediction.get("value", ()))

    def _object_share(self, truth: Layer, known: Sample, pixels: int) -> float:
        areas = [(right - left) * (bottom - top) for left, top, right, bottom, _ in truth.boxes]
        for key in known:
            names = names_of(self.spec, key)
            if find_target(key).dense and names and names[0].lower() == BACKGROUND and not areas:
                areas = [int(((known[key] > 0) & (known[key] < len(names))).sum())]
        return float(np.mean(areas) / pixels) if areas and max(areas) > 0 else np.nan
