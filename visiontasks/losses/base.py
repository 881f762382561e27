"""What a loss is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.core.serialize import Configurable


class Loss(Configurable, nn.Module, ABC):
    """A loss over classes: logits against class indices, or against probabilities where labels are mixed.

    Attributes:
        kind: What it compares: `classes`, or, for a `BoxLoss`, `boxes`.
    """

    kind: str = "classes"

    def set_label_counts(self, counts: Tensor, frequencies: Tensor | None = None) -> None:
        """Tells how often each class occurs in the training set; most losses do not care.

        Args:
            counts: Of labels, or of pixels, or their shares: float or int64 (C,).
            frequencies: Of pixels the share that the class has of the images in which it occurs, float (C,).
        """

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor, /) -> Tensor:
        """Computes the mean over all targets that are not ignored.

        Args:
            logits: Float (B, C, ...).
            target: Class indices, int64 (B, ...), where -100 is ignored; or probabilities, float (B, C, ...).

        Returns:
            Float scalar; 0 with a zero gradient where every target is ignored.
        """


def class_terms(values: Tensor, target: Tensor) -> Tensor:
    """What a target picks of values (B, C, ...): its class's value, or the probabilities' mean; (B, ...)."""
    if target.is_floating_point():
        return (values * target).sum(1)
    return values.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)


def target_weights(target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Weight of each target, float (B, ...): of its class, 1 if not given, and 0 where it is ignored."""
    if target.is_floating_point():
        shares = target.float().movedim(1, -1)
        return (shares if class_weights is None else shares * class_weights).sum(-1)
    kept = (target != IGNORE_LABEL).float()
    return kept if class_weights is None else kept * class_weights[target.clamp(min=0)]


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of values by weights of the same shape; 0 with a zero gradient where all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
