"""The contract of a loss."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.core.serialize import Configurable


class Loss(Configurable, nn.Module, ABC):
    """Base class of losses; a loss of classes compares logits with class indices, or with probabilities if mixed.

    Attributes:
        kind: What the loss compares: `classes`, or `boxes` for a `BoxLoss`, or `values` for a `ValueLoss`.
    """

    kind: str = "classes"

    def set_label_counts(self, counts: Tensor, frequencies: Tensor | None = None) -> None:
        """Reads how often each class occurs in the training set; most losses ignore it.

        Args:
            counts: Number of labels or pixels of each class, or their shares: float or int64 (C,).
            frequencies: Share of each class among the pixels of the images in which it occurs, float (C,).
        """

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor, /) -> Tensor:
        """Computes the mean over all targets that are not ignored.

        Args:
            logits: Float (B, C, ...).
            target: Class indices, int64 (B, ...), where -100 is ignored; or probabilities, float (B, C, ...).

        Returns:
            Float scalar; 0 with a zero gradient if every target is ignored.
        """


def class_terms(values: Tensor, target: Tensor) -> Tensor:
    """Selects each target's value from values (B, C, ...), or averages them by its probabilities: (B, ...)."""
    if target.is_floating_point():
        return (values * target).sum(1)
    return values.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)


def target_weights(target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Returns the weight of each target, float (B, ...): of its class (default 1), and 0 where it is ignored; of
    probabilities their sum."""
    if target.is_floating_point():
        return target.float().sum(1)
    kept = (target != IGNORE_LABEL).float()
    return kept if class_weights is None else kept * class_weights[target.clamp(min=0)]


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Averages values by weights of the same shape; 0 with a zero gradient if all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
