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
    """

    counts: Counts
    names: list[str]
    measures: dict[str, np.ndarray]
    scores: np.ndarray
    values: np.ndarray


def gather(predictor: Predictor, dataset: VisionDataset, **options: Any) -> Images:
    """Predicts a split; `options` are those of `Predictor.stream`. Raises the errors of `count`."""
    seen = _Seen(predictor, dataset)
    counts = count(predictor, seen, seen.add, **options)
    found = [seen.measures[index] | {"object size": seen.shares[index]} for index in range(len(dataset))]
    measures = {name: np.array([one[name] for one in found], float) for name in found[0]}
    names = [dataset.name(index) for index in range(len(dataset))]
    values = np.array(seen.values, np.float64).reshape(len(dataset), -1)
    return Images(counts, names, measures, np.array(seen.scores, float), values)


def layers_of(
    predictor: Predictor, dataset: VisionDataset, indices: Sequence[int], **options: Any
) -> dict[int, list[Layer]]:
    """Predicts some images again and records the truth, the prediction, and of masks the wrong pixels of each.

    The layers of all images would take gigabytes for a large set of masks, and the figures tell which are shown.
    """
    sources = (Source.of(dataset.name(index), partial(dataset.image, index)) for index in indices)
    stream: Iterable[tuple[Source, Sample]] = track(predictor.stream(sources, **options), "Drawing", len(indices))
    found = {}
    for index, (_, prediction) in zip(indices, stream, strict=True):
        truth = _known(predictor, dataset.truth(index, prediction["size"]))
        wrong = difference(truth, prediction)
        layers = [Layer.of(truth, predictor.spec), Layer.of(prediction, predictor.spec)]
        found[index] = [*layers, wrong] if wrong else layers
    return found


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
        self.shares.append(object_share(_known(self.predictor, truth), self.predictor.spec, height * width))
        self.scores.append(prediction.get("score", np.nan))
        self.values.append(prediction.get("value", ()))


def object_share(truth: Sample, spec: dict[str, Any], pixels: int) -> float:
    """Returns the mean share of an image that a true object covers; NaN if there is none."""
    draw_on(drawn := TrueBoxes(), truth, spec)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in drawn.boxes]
    for key in truth:
        names = names_of(spec, key)
        if find_target(key).dense and names and names[0].lower() == BACKGROUND and not areas:
            areas = [int(((truth[key] > 0) & (truth[key] < len(names))).sum())]
    return float(np.mean(areas) / pixels) if areas and max(areas) > 0 else np.nan
