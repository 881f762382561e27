"""Classes of the cells of images by ridge regression that has not seen them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.models.location_ridge import FOLDS, NormalEquations

STRIDE = 16  # of the cells


class Agreement(NamedTuple):
    """How much a mask agrees with the one found without it.

    Attributes:
        share: Share of the pixels where both have the same class, 0..1; NaN without a known pixel.
        label: Class of the mask that differs in most pixels.
        other: Class that most of these pixels look like.
    """

    share: float
    label: int
    other: int


class LeftOutMasks:
    """Gathers images, divides them into five parts, and finds the classes of the cells of each part by the four others.

    Args:
        channels: Channels of the maps.
        classes: Number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        self.equations, self.classes = NormalEquations(channels, classes), classes
        self.rows: list[Tensor] = []  # of each image, half precision
        self.shares: list[Tensor] = []

    def add(self, maps: list[Tensor], mask: Tensor, size: tuple[int, int]) -> None:
        """Adds an image: its maps, float (C, h, w), its mask, int64 (H, W), and the size of the picture."""
        cells = [max(1, side // STRIDE) for side in size]
        rows = torch.cat([F.interpolate(part[None], cells, mode="area")[0] for part in maps]).flatten(1).T
        shares = torch.stack([(mask == label).float() for label in range(self.classes)])
        shares = F.interpolate(shares[None], cells, mode="area")[0].flatten(1).T
        known = shares.sum(1) > 0.5
        self.equations.add(len(self.rows) % FOLDS, rows[known], shares[known])
        self.rows.append(rows[known].half())
        self.shares.append(shares[known])

    def compare(self) -> list[Agreement]:
        """Compares the mask of each image with the classes that its cells have without it."""
        weight = self.equations.solve().left_out.float()
        parts = enumerate(zip(self.rows, self.shares, strict=True))
        return [self._compare(rows.float(), shares, weight[number % FOLDS]) for number, (rows, shares) in parts]

    def _compare(self, rows: Tensor, shares: Tensor, weight: Tensor) -> Agreement:
        if not len(rows):
            return Agreement(np.nan, 0, 0)
        found = F.one_hot((rows @ weight[:-1] + weight[-1]).argmax(1), self.classes).float()
        pairs = shares.T @ found / shares.sum()  # true by found
        agreed = float(pairs.diagonal().sum())
        label, other = divmod(int(pairs.fill_diagonal_(0).argmax()), self.classes)
        return Agreement(agreed, label, other)
