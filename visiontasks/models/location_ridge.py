"""Ridge regression of what a detector says at each location, from sums over all images."""

from typing import NamedTuple

import torch
from torch import Tensor

FOLDS = 5  # parts of the images; each is left out once
STRENGTHS = torch.logspace(-6, 2, 33, dtype=torch.float64)  # relative to the mean eigenvalue


class Fit(NamedTuple):
    """A linear function and those fitted without each part of the images.

    Attributes:
        weight: float64 (D, T).
        bias: float64 (T,).
        strength: Penalty relative to the mean eigenvalue.
        left_out: Weight with the bias as its last row of each part, float64 (folds, D + 1, T).
    """

    weight: Tensor
    bias: Tensor
    strength: float
    left_out: Tensor


class NormalEquations:
    """Sums of products of rows, whose number has no limit; each part of the images has its own.

    Args:
        inputs: Features of a row, D.
        outputs: Targets of a row, T.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.products = torch.zeros(FOLDS, inputs + 1, inputs + 1 + outputs, dtype=torch.float64)
        self.inputs = inputs

    def add(self, fold: int, rows: Tensor, target: Tensor) -> None:
        """Adds rows (N, D) with their targets (N, T) of one image."""
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
        self.products[fold] += (rows.T @ torch.cat([rows, target], 1)).double().cpu()

    def solve(self) -> Fit:
        """Fits with the penalty whose functions have the least squared error on the parts that they have not seen."""
        total = self.products.sum(0)
        without = [_Centered(total - part, self.inputs) for part in self.products]
        errors = torch.zeros(len(STRENGTHS), dtype=torch.float64)
        for part, centered in zip(self.products, without, strict=True):
            xx, xy = part[:, : self.inputs + 1], part[:, self.inputs + 1 :]
            for place, strength in enumerate(STRENGTHS):
                weight = centered.solve(float(strength))
                errors[place] += (weight * (xx @ weight - 2 * xy)).sum()
        strength = float(STRENGTHS[errors.argmin()])
        weight = _Centered(total, self.inputs).solve(strength)
        left_out = torch.stack([centered.solve(strength) for centered in without])
        return Fit(weight[:-1], weight[-1], strength, left_out)


class _Centered:
    """The eigenvectors of a covariance, which serve all penalties; the bias is not penalized."""

    def __init__(self, products: Tensor, inputs: int) -> None:
        count = products[-1, inputs].clamp(min=1)
        self.mean = products[-1] / count
        centered = products[:-1] - count * torch.outer(self.mean[:inputs], self.mean)
        covariance, cross = centered[:, :inputs], centered[:, inputs + 1 :]
        values, self.vectors = torch.linalg.eigh(covariance)
        self.values, self.inputs = values.clamp(min=0), inputs
        self.cross = self.vectors.T @ cross

    def solve(self, strength: float) -> Tensor:
        penalty = strength * self.values.mean().clamp(min=1e-12)
        weight = self.vectors @ (self.cross / (self.values + penalty)[:, None])
        bias = self.mean[self.inputs + 1 :] - self.mean[: self.inputs] @ weight
        return torch.cat([weight, bias[None]])
