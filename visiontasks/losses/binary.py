"""Losses of several labels: each class is a decision of its own."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.losses.base import weighted_mean
from visiontasks.losses.pointwise import CrossEntropy

PositiveWeights = Literal["inverse"] | list[float] | None


class BinaryCrossEntropy(CrossEntropy):
    """Cross-entropy of the sigmoid of each logit, -[t log p + (1 - t) log(1 - p)], averaged over the known labels.

    Shape:
        logits, target float (B, C), targets 0 or 1, NaN where unknown; result ().

    Args:
        label_smoothing: Targets become `label_smoothing` / 2 and 1 - `label_smoothing` / 2, 0..1.
        class_weights: Weight of the loss of the positive examples of each class, or `inverse`: negative over positive
            examples of the training set.
    """

    kind = "labels"

    def __init__(self, label_smoothing: float = 0.0, class_weights: PositiveWeights = None) -> None:
        super().__init__(label_smoothing, class_weights)

    def set_label_counts(self, counts: Tensor, frequencies: Tensor | None = None) -> None:
        if self.class_weights != "inverse":
            super().set_label_counts(counts, frequencies)  # checks the number of weights
        elif frequencies is not None:
            occurs = (frequencies > 0) & (frequencies < 1)
            self.weights = torch.where(occurs, (1 - frequencies) / frequencies, 1.0)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        known = target.isfinite()
        # a NaN times zero would be NaN again, in the gradient too
        safe = torch.where(known, target.float(), 0.0)
        values = self.values(logits.float(), safe * (1 - self.label_smoothing) + self.label_smoothing / 2)
        if self.weights is not None:
            self.weights = self.weights.to(logits.device)
            values = torch.where(safe == 1, self.weights * values, values)
        return weighted_mean(values, known.float())

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        """Computes the loss of each decision, float (B, C)."""
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


class BinaryFocal(BinaryCrossEntropy):
    """Focal loss of each decision, -(1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 4); gamma 0 is cross-entropy.

    Shape:
        logits, target float (B, C), targets 0 or 1, NaN where unknown; result ().

    Args:
        gamma: How much well-classified examples are held down, >= 0.
        class_weights: As in `BinaryCrossEntropy`; the paper's alpha.
    """

    def __init__(self, gamma: float = 2.0, class_weights: PositiveWeights = None) -> None:
        super().__init__(class_weights=class_weights)
        if gamma < 0:
            raise InputError(f"gamma: {gamma} must not be negative.")
        self.gamma = gamma

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = super().values(logits, target)
        # the slope of x ** gamma is infinite at 0 for gamma < 1
        return (-torch.expm1(-entropy)).clamp(min=1e-7) ** self.gamma * entropy


class Asymmetric(BinaryCrossEntropy):
    """Asymmetric loss: negatives are held down more than positives, and very easy ones do not count.

    Positives: -(1 - p)^gamma_positive log p; negatives: -p_m^gamma_negative log(1 - p_m) with p_m = max(p - margin, 0)
    (Ridnik et al. 2021, eq. 5 and 7).

    Shape:
        logits, target float (B, C), targets 0 or 1, NaN where unknown; result ().

    Args:
        gamma_negative: Focusing of negatives, >= 0.
        gamma_positive: Focusing of positives, >= 0.
        margin: Probability below which a negative does not count, 0..1.
    """

    def __init__(self, gamma_negative: float = 4.0, gamma_positive: float = 1.0, margin: float = 0.05) -> None:
        super().__init__()
        if min(gamma_negative, gamma_positive) < 0 or not 0 <= margin < 1:
            raise InputError(
                f"Asymmetric: gamma_negative={gamma_negative}, gamma_positive={gamma_positive} must be positive or 0, "
                f"and margin={margin} in 0..1, below 1."
            )
        self.gamma_negative, self.gamma_positive, self.margin = gamma_negative, gamma_positive, margin

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        p = logits.sigmoid()
        shifted = (p - self.margin).clamp(min=0)
        positive = -((1 - p).clamp(min=1e-7) ** self.gamma_positive) * F.logsigmoid(logits)
        negative = -(shifted.clamp(min=1e-7) ** self.gamma_negative) * torch.log1p(-shifted.clamp(max=1 - 1e-6))
        return target * positive + (1 - target) * negative
