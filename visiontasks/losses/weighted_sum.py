"""A sum of losses."""

from __future__ import annotations

from torch import Tensor, nn

from visiontasks.losses.base import Loss
from visiontasks.samples import InputError


class WeightedSum(Loss):
    """Several losses of one kind, each times its weight.

    Args:
        losses: The losses.
        weights: One weight a loss.
    """

    def __init__(self, losses: list[Loss], weights: list[float]) -> None:
        super().__init__()
        if len(losses) != len(weights) or not losses:
            raise InputError(f"WeightedSum: {len(weights)} weights for {len(losses)} losses; give one each.")
        if len(kinds := {loss.kind for loss in losses}) > 1:
            raise InputError(
                f"WeightedSum: the losses are of {' and of '.join(sorted(kinds))}; they must be of one kind."
            )
        (self.kind,) = kinds
        self.losses, self.weights = nn.ModuleList(losses), weights

    def set_label_counts(self, counts: Tensor) -> None:
        for loss in self.losses:
            loss.set_label_counts(counts)  # ty: ignore[not-callable]

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        first, *others = (weight * loss(output, target) for weight, loss in zip(self.weights, self.losses, strict=True))
        return sum(others, first)
