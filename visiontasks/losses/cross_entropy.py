"""Cross-entropy."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.losses.base import Loss, target_weights, weighted_mean
from visiontasks.samples import InputError

ClassWeights = Literal["auto"] | list[float] | None


class CrossEntropy(Loss):
    """Cross-entropy of softmax: -sum_c t_c log p_c, averaged by the weights of the targets' classes.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        label_smoothing: Share of a target's mass spread over all classes, 0..1 (Szegedy et al. 2016, section 7).
        class_weights: One weight a class; `auto` makes them inversely proportional to the classes' counts
            in the training set, with a mean of 1 over its samples.
    """

    weights: Tensor | None

    def __init__(self, label_smoothing: float = 0.0, class_weights: ClassWeights = None) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing: {label_smoothing} must be in 0..1, below 1.")
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        given = torch.tensor(class_weights, dtype=torch.float32) if isinstance(class_weights, list) else None
        self.register_buffer("weights", given, persistent=False)

    def set_label_counts(self, counts: Tensor) -> None:
        if self.class_weights == "auto":
            share = counts.float() / counts.sum()
            self.weights = torch.where(share > 0, 1 / (len(counts) * share), 1.0)
        elif self.weights is not None and len(self.weights) != len(counts):
            raise InputError(f"class_weights: {len(self.weights)} weights for {len(counts)} classes.")

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return weighted_mean(self.values(logits.float(), target), target_weights(target, self.weights))

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each target, (B, ...); whatever where it is ignored."""
        return F.cross_entropy(logits, target, reduction="none", label_smoothing=self.label_smoothing)
