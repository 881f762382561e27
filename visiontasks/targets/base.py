"""The contract of a target kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import Sample


class Difference(NamedTuple):
    """How far a prediction is from the expected one: what was compared, by how much it differs, and the limit."""

    name: str
    value: float
    limit: float


class Known(NamedTuple):
    """A value of the training set, the frame of its image (a function: it may have to read the file) and its name."""

    value: Any
    frame: Callable[[], Frame]
    name: str


class Target(ABC):
    """Everything that is special about one key of a sample, in numpy.

    A *value* is what a dataset knows of an image, in pixels of the image. An *output* is what a head post-processes
    for one image, in its picture: float32.

    Attributes:
        key: Key of a sample, a batch and a prediction.
        names_key: Where a spec lists the names of its classes (or numbers), and the attribute of a dataset.
        monitor: First of the `figures`, the one that chooses the best model; more is better.
        compared: Other figures that are shown beside those of the baseline, if there are such.
        details: Other figures that the table after a fit leaves out.
        dense: Whether an output has a score for each pixel.
        additive: Whether the counts of images may be summed; if not, the figures need those of each image.
        bounded: Whether all figures are between 0 and 1.
        exact_up_to: Draws x images x classes up to which the figures of draws are exact; see `is_exact`.
        occurrence: The part of a summary that says how often each class occurs; empty if there are no classes.
        columns: The columns of `rows` of a kind with any number of objects per image; empty for one row per image.
        decides: Whether classes have thresholds, which `at_threshold` replaces.
    """

    key: ClassVar[str]
    names_key: ClassVar[str] = "class_names"
    monitor: ClassVar[str]
    compared: ClassVar[tuple[str, ...]] = ()
    details: ClassVar[tuple[str, ...]] = ()
    dense: ClassVar[bool] = False
    additive: ClassVar[bool] = True
    bounded: ClassVar[bool] = True
    exact_up_to: ClassVar[float] = float("inf")
    occurrence: ClassVar[str] = ""
    columns: ClassVar[tuple[str, ...]] = ()
    decides: ClassVar[bool] = False

    def to_augment(self, value: Any) -> dict[str, Any]:
        """Returns the arguments by which albumentations moves a value with its image."""
        return {}

    def from_augment(self, value: Any, moved: dict[str, Any]) -> Any:
        """Returns the value that albumentations has moved, or None if it was lost."""
        return value

    def resize(self, value: Any, frame: Frame) -> Any:
        """Moves a value from the image to its picture.

        Raises:
            InputError: The resize cuts the value away.
        """
        return value

    @abstractmethod
    def missing(self, size: tuple[int, int], names: Sequence[str]) -> Any:
        """Returns the value of a picture of height and width that has none: losses and figures leave it out."""

    def collate(self, values: Sequence[Any], size: tuple[int, int], names: Sequence[str]) -> np.ndarray:
        """Stacks the values of pictures of one height and width; None stands for a missing one."""
        return np.stack([self.missing(size, names) if value is None else value for value in values])

    def merge(self, outputs: Sequence[np.ndarray], flips: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Averages the outputs (B, ...) of several views of the same pictures.

        Args:
            outputs: The first one is of the picture itself; others may be of other sizes.
            flips: The axes along which each view was flipped: -1 left and right, -2 up and down.
        """
        return np.mean(outputs, axis=0)

    def at_threshold(self, outputs: np.ndarray, threshold: float) -> np.ndarray:
        """Returns outputs (B, ...) with another threshold for every class; for kinds that `decides`."""
        raise NotImplementedError

    @abstractmethod
    def prediction(self, output: np.ndarray, frame: Frame, names: Sequence[str]) -> Sample:
        """Makes a prediction of an output, in pixels of the image."""

    @abstractmethod
    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        """Returns what a table says of a prediction, plain values by column: one row, or with `columns` any number."""

    @abstractmethod
    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        """Draws a sample or prediction, whose values are in pixels of the canvas."""

    @abstractmethod
    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Sums up the training set: what heads, class weights and the baseline need.

        Args:
            values: The values of all images that have one.
            names: Names of the classes.
        """

    @abstractmethod
    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the output of the trivial predictor, which has seen the training values and no image."""

    @abstractmethod
    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        """Counts what one image adds to the figures: float64 (rows, classes); zeros (or NaN) without a true value."""

    @abstractmethod
    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Computes the figures of a set.

        Args:
            counts: Of each image, float64 (N, rows, classes).
            times: How often each image counts, (draws, N); each once if not given. See also `is_exact`.

        Returns:
            By name, float64 (draws,), the monitored one first; of each class (draws, classes), NaN where it does not
            occur, by names that begin with `class/`. Without `times` the first axis is left out.
        """

    def matrices(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Computes tables of true (rows) by predicted (columns) classes, int64, by name; the classes may be followed by
        the background."""
        return {}

    def is_exact(self, counts: np.ndarray, draws: int) -> bool:
        """Tells whether the figures of so many draws are exact, or those of rank (average precision) to first order."""
        return draws * counts[:, 0].size <= self.exact_up_to

    def sizes(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Counts the images behind each figure: by name, (), or (classes,) for a figure of each class.

        A kind that is not additive overrides it.
        """
        alone = self.figures(counts.swapaxes(0, 1)[None])  # each image as a set of its own
        return {name: np.isfinite(values).sum(0) for name, values in alone.items()}

    @abstractmethod
    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        """Compares two predictions of one image, of a checkpoint and of what was exported from it."""

    def totals(self, counts: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        """Sums the counts of the images: float64 (rows, draws, classes), or (rows, classes) without `times`."""
        if times is None:
            return counts.sum(0)
        drawn = times @ counts.reshape(len(counts), -1)
        return drawn.reshape(len(times), *counts.shape[1:]).swapaxes(0, 1)


def is_empty(figures: dict[str, Any]) -> bool:
    """Tells whether figures are of no image: all of them are NaN."""
    return all(np.isnan(values).all() for values in figures.values())


def target_kinds() -> dict[str, Target]:
    """Returns every target kind by its key, in the order of a table's columns: numbers, labels, boxes, masks."""
    found = sorted(_subclasses(Target), key=lambda cls: cls.key, reverse=True)
    return {cls.key: cls() for cls in sorted(found, key=lambda cls: cls.dense)}


@cache
def find_target(key: str) -> Target:
    """Returns the kind of a key.

    Raises:
        InputError: There is none.
    """
    kinds = target_kinds()
    if key not in kinds:
        raise InputError(
            f"{key!r} is not the key of a target kind; there are {', '.join(kinds)}. Rename the key, or add a kind to "
            "visiontasks/targets."
        )
    return kinds[key]


def names_of(spec: dict[str, Any], key: str) -> list[str]:
    """Returns the names of the classes that a head of this key tells apart."""
    return spec.get(find_target(key).names_key, [])


def _subclasses(cls: type[Target]) -> list[type[Target]]:
    """The subclasses with a key of their own, at any depth."""
    return [found for child in cls.__subclasses__() for found in (child, *_subclasses(child)) if "key" in vars(found)]
