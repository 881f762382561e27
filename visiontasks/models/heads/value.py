"""Regression head: one or more numbers per image."""

from typing import Any

import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses import MSE, Loss
from visiontasks.models.heads.base import Head
from visiontasks.models.heads.pool import Pool, linear, pool, pooled_width
from visiontasks.models.ridge import fit_ridge


class ValueHead(Head):
    """Pooled features, dropout, and one linear output per number.

    The outputs are standardized by the mean and standard deviation of the training set, so that one learning rate and
    one loss work for any unit.

    Args:
        num_classes: Number of numbers.
        pool: `avg`, `max`, `avgmax` or `flatten`; see `LabelHead`.
        dropout: Probability of dropping a pooled feature, 0..1.
        loss: Loss of numbers.

    Raises:
        InputError: The data has no numbers.
    """

    key = "value"

    def __init__(
        self, channels: list[int], num_classes: int, pool: Pool = "avg", dropout: float = 0.0, loss: Loss = MSE()
    ) -> None:
        super().__init__()
        if not num_classes:
            raise InputError("ValueHead: the data has no numbers (`value`). Use a dataset with numbers per image.")
        self.pool, self.criterion = pool, self.check_loss(loss, "values")
        self.dropout = nn.Dropout(dropout)
        self.regressor = linear(pooled_width(pool, channels[-1]), num_classes)
        self.mean = nn.Buffer(torch.zeros(num_classes))
        self.std = nn.Buffer(torch.ones(num_classes))

    def setup(self, summary: dict[str, Any]) -> None:
        std = torch.from_numpy(summary["std"])
        if not std.isfinite().all():
            raise InputError("ValueHead: no training image has a value for one of the numbers. Remove its column.")
        self.mean.copy_(torch.from_numpy(summary["mean"]))
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes standardized numbers, float (B, K)."""
        return self.regressor(self.dropout(pool(features[-1], self.pool)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.criterion(output, (target - self.mean) / self.std)

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes the numbers in their own units, float (B, K)."""
        return output.float() * self.std + self.mean

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        # shifted, because squares of large numbers would be rounded
        target = target.float()
        error, shifted = self.postprocess(output) - target, target - self.mean
        rows = torch.stack([torch.ones_like(target), shifted, shifted**2, error.abs(), error**2])
        return torch.where(target.isfinite(), rows, 0.0).sum(1)

    def baseline(self) -> Tensor:
        return self.mean

    def column(self, output: Tensor) -> None:
        return None

    def design(self, features: list[Tensor]) -> Tensor:
        return pool(features[-1], self.pool)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Solves ridge regression on the standardized numbers."""
        known = target.isfinite().all(1)
        standardized = ((target[known] - self.mean.cpu()) / self.std.cpu()).to(design.dtype)
        ridge = fit_ridge(design[known], standardized, index[known])
        ridge.copy_to(self.regressor)
        error = (ridge.left_out - standardized).square().mean()
        return {"strength": ridge.strength, "left_out_r2": 1 - float(error / standardized.var(0, correction=0).mean())}
