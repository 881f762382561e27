"""How good the prediction of each image is, by the figures of the target kinds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from visiontasks.targets import Target, find_target
from visiontasks.targets.coco import MOST

CHOSEN = {"value": "mae"}  # a figure that single images have, where the monitored one is of many
LESS_IS_BETTER = ("mae", "rmse")


class Quality(NamedTuple):
    """A figure that can be computed for single images and for parts of a set.

    Attributes:
        kind: The target kind that computes it from `counts`.
        counts: Per image, float64 (N, rows, classes).
        name: Its name among the figures of `kind`.
        title: What it is called in the figures of the set.
    """

    kind: Target
    counts: np.ndarray
    name: str
    title: str

    @property
    def sign(self) -> int:
        """1 if more is better, else -1."""
        return -1 if self.name in LESS_IS_BETTER else 1

    def of_images(self) -> np.ndarray:
        """Returns it for each image, (N,), the higher the better; NaN where an image has no such target."""
        if self.kind.additive:
            return self.sign * self.kind.figures(self.counts.swapaxes(0, 1)[None])[self.name]
        each = [self.kind.figures(self.counts[i : i + 1])[self.name] for i in range(len(self.counts))]
        return self.sign * np.array(each, float)


def quality_of(key: str, counts: np.ndarray) -> Quality:
    """Returns the figure by which single images of a target are compared.

    Args:
        key: Key of the target.
        counts: Counts per image, (N, rows, classes).
    """
    kind = find_target(key)
    if key in SUMS:
        name, title, summed = SUMS[key]
        return Quality(find_target("label"), summed(counts), name, title)
    if key == "value" and counts.shape[2] > 1:
        return Quality(kind, _in_deviations(counts), "mae", "mae in standard deviations")
    name = CHOSEN.get(key, kind.monitor)
    return Quality(kind, counts, name, name)


def occurrence(key: str, counts: np.ndarray) -> np.ndarray:
    """Tells which classes each image has in truth, bool (N, classes); (N, 0) for a kind without classes."""
    if key in OCCURS:
        return OCCURS[key](counts)
    return counts[:, 0] > 0 if find_target(key).occurrence else np.zeros((len(counts), 0), bool)


def _in_deviations(counts: np.ndarray) -> np.ndarray:
    """Divides the absolute errors of numbers, whose units may differ, by the deviations of their true values."""
    number, total, squares = counts[:, :3].sum(0)
    mean, square = (part / np.maximum(number, 1) for part in (total, squares))
    deviation, scaled = np.sqrt(np.maximum(square - mean**2, 0)), counts.copy()
    scaled[:, 3] /= np.where(deviation > 0, deviation, 1)
    return scaled


def _labels(counts: np.ndarray) -> np.ndarray:
    """Sums the decisions of all classes like those of one class of `label`."""
    probability, true, threshold = counts.swapaxes(0, 1)
    taken, positive = (probability >= threshold) & np.isfinite(true), true == 1
    return np.stack([part.sum(1) for part in (positive, taken, positive & taken)], 1)[..., None].astype(float)


def _objects(counts: np.ndarray) -> np.ndarray:
    """Sums the decisions at an IoU of 0.5 like those of one class of `label`."""
    found, true = counts[:, :MOST], counts[:, MOST:, 0].sum(1)
    right, out = (found[..., column].astype(np.int64) & 1 > 0 for column in (2, 3))  # the first area and IoU
    taken = (found[..., 0] >= 0) & (found[..., 4] > 0) & ~out
    return np.stack([true, taken.sum(1), (taken & right).sum(1)], 1)[..., None].astype(float)


SUMS: dict[str, tuple[str, str, Callable[[np.ndarray], np.ndarray]]] = {  # figure of `label`, own name, counts
    "label": ("accuracy", "accuracy", lambda counts: counts.sum(2, keepdims=True)),
    "labels": ("f1", "micro_f1", _labels),
    "objects": ("f1", "f1", _objects),
}
OCCURS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "labels": lambda counts: counts[:, 1] == 1,
    "objects": lambda counts: counts[:, MOST:, 0] > 0,
    "bbox": lambda counts: counts[:, 0, :-1] > 0,  # the last column has boxes without a class
}
