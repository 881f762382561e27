"""Losses of numbers."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.losses.base import Loss, weighted_mean


class ValueLoss(Loss):
    """Base class of losses of numbers, which are standardized by the training set.

    Shape:
        output float (B, K); target float (B, K), NaN if unknown; result ().
    """

    kind = "values"

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the mean over all known numbers; 0 with a zero gradient if there are none."""
        known = target.isfinite()
        # a weight of 0 is not enough: NaN times 0 is NaN, in the gradient too
        return weighted_mean(self.values(output.float(), torch.where(known, target.float(), 0.0)), known.float())

    @abstractmethod
    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the loss of each number, float (B, K)."""


class MSE(ValueLoss):
    """Mean squared error."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target, reduction="none")


class SmoothL1(ValueLoss):
    """Mean smooth L1, quadratic near zero and linear beyond (Girshick 2015, eq. 3): outliers weigh less than in `MSE`.

    Args:
        beta: Error below which the loss is quadratic, in standard deviations of the training set.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(output, target, reduction="none", beta=self.beta)
