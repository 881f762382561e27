"""A sum of losses."""

from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses.base import Loss
from visiontasks.losses.boxes import BoxGIoU, BoxSmoothL1


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


class BoxGIoUL1(WeightedSum):
    """GIoU plus smooth L1 of boxes: GIoU measures overlap, smooth L1 guides boxes that do not overlap yet.

    As the box loss of DETR (Carion et al. 2020, section 3.1), which uses plain L1.

    Shape:
        output, target float (B, 4); result ().

    Args:
        weight: Weight of the smooth L1; that of GIoU is 1.
        beta: See `BoxSmoothL1`.
    """

    def __init__(self, weight: float = 2.0, beta: float = 0.1) -> None:
        super().__init__([BoxGIoU(), BoxSmoothL1(beta)], [1.0, weight])
