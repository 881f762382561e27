"""What a check of labels gathers, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.doctor.finding import Severity
from visiontasks.doctor.noise import LEAST_DOUBT, doubt_labels
from visiontasks.models.ridge import fit_ridge

FEWEST = 5  # examples of a class from which others of it are recognized
UNLIKELY, SURE = 0.01, 0.9  # probabilities of a label, and of another class, that contradict each other
SEVERAL, SHARE = 3, 0.002  # such labels that are a finding: number and share of the labels
MOST_DOUBTFUL = 0.25  # share of the labels; more doubts show that the features do not tell the classes apart


class Suspect(NamedTuple):
    """An image whose label is probably wrong.

    Attributes:
        row: Which of the images that were added.
        doubt: How likely it is that the label is wrong, 0..1.
        note: What the label says and what the image looks like.
    """

    row: int
    doubt: float
    note: str


class Check(ABC):
    """Gathers features and labels of one key, image by image, and finds the images whose labels contradict the rest.

    Args:
        names: Names of the classes.
        channels: Channels of each feature map.

    Attributes:
        what: What is probably wrong, in the plural.
        severity: That of the finding: a `note` if most of what is found is right.
        needs_maps: Whether it needs the feature maps of all strides, which only some of the images can give.
    """

    what: ClassVar[str]
    severity: ClassVar[Severity] = "warning"
    needs_maps: ClassVar[bool] = False

    def __init__(self, names: Sequence[str], channels: Sequence[int]) -> None:
        self.names = names

    @abstractmethod
    def add(self, features: list[Tensor], target: Tensor, rows: Tensor) -> None:
        """Adds a batch.

        Args:
            features: Feature maps as `Backbone.forward` returns them.
            target: Values of the key in the batch.
            rows: Number of each image, int64 (B,).
        """

    @property
    def part(self) -> str:
        """What of the images was left out, as the end of a sentence; empty if nothing was."""
        return ""

    @abstractmethod
    def suspects(self) -> list[Suspect]:
        """Returns the images whose labels are probably wrong; an image may occur several times."""


class Doubtful(NamedTuple):
    """A label that is probably wrong: its place, its doubt, the class that it looks like, and how likely that is."""

    place: int
    doubt: float
    other: int
    probability: float


def doubtful_classes(design: Tensor, labels: Tensor, classes: int) -> list[Doubtful]:
    """Finds labels that contradict a ridge regression of the one-hot labels that has not seen them.

    Classes with fewer than five examples are left out. A few wrong labels do not change the share that `doubt_labels`
    estimates, so labels that the prediction excludes count too if there are several. If more than a quarter of the
    labels are doubtful, none is returned.

    Args:
        design: Features, float (N, D).
        labels: Class indices, int64 (N,).
        classes: Number of classes.
    """
    common = labels.bincount(minlength=classes) >= FEWEST
    kept = common[labels].nonzero().flatten()
    used = common.nonzero().flatten()
    if len(used) < 2:
        return []
    own = (torch.cumsum(common, 0) - 1)[labels[kept]]
    outputs = fit_ridge(design[kept], F.one_hot(own, len(used)).to(design.dtype)).left_out
    doubts, probabilities = doubt_labels(outputs, own)
    given = probabilities.gather(1, own[:, None])[:, 0]
    best = probabilities.scatter(1, own[:, None], 0).max(1)
    unlikely = (given < UNLIKELY) & (best.values > SURE)
    if unlikely.sum() >= max(SEVERAL, SHARE * len(own)):
        doubts = torch.where(unlikely, 1 - given, doubts)
    doubtful = (doubts > LEAST_DOUBT) & (best.values > given)
    if doubtful.double().mean() > MOST_DOUBTFUL:
        return []
    found = doubtful.nonzero().flatten().tolist()
    return [Doubtful(int(kept[i]), float(doubts[i]), int(used[best.indices[i]]), float(best.values[i])) for i in found]
