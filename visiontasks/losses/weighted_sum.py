"""A sum of losses."""

from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses.base import Loss


class WeightedSum(Loss):
    """Weighted sum of losses of one kind.

    Args:
        losses: The losses.
        weights: One weight per loss.
    """

    def __init__(self, losses: list[Loss], weights: list[float]) -> None:
        super().__init__()
        if len(losses) != len(weights) or not losses:
            raise InputError(f"WeightedSum: {len(weights)} weights for {len(losses)} losses; give one weight per loss.")
        if len(kinds := sorted({loss.kind for loss in losses})) > 1:
            raise InputError(f"WeightedSum: the losses are of {' and of '.join(kinds)}; they must be of one kind.")
        (self.kind,) = kinds
        self.losses, self.weights = nn.ModuleList(losses), weights

    def set_label_counts(self, counts: Tensor, frequencies: Tensor | None = None) -> None:
        for loss in self.losses:
            loss.set_label_counts(counts, frequencies)  # ty: ignore[not-callable]

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        first, *others = (weight * loss(output, target) for weight, loss in zip(self.weights, self.losses, strict=True))
        return sum(others, first)
