"""Cross-entropy."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.losses.base import Loss, target_weights, weighted_mean

ClassWeights = Literal["inverse", "median_frequency", "sqrt_median_frequency"] | list[float] | None


class CrossEntropy(Loss):
    """Cross-entropy of softmax: -sum_c t_c log p_c, averaged by the weights of the targets' classes.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        label_smoothing: Share of a target's mass spread over all classes, 0..1 (Szegedy et al. 2016, section 7).
        class_weights: One weight a class, or what they follow from in the training set: `inverse` is inversely
            proportional to the classes' counts; `median_frequency` the median of all frequencies over the class's
            own, which is its share of the pixels of images in which it occurs (Eigen and Fergus 2015, section 6.3.2);
            `sqrt_median_frequency` the square root of that. A class that does not occur has a weight of 1.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: ClassWeights = None) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing: {label_smoothing} must be in 0..1, below 1.")
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        # no buffer: it is not there before the training set is known, and weight averaging copies the buffers before
        self.weights = torch.tensor(class_weights, dtype=torch.float32) if isinstance(class_weights, list) else None

    def set_label_counts(self, counts: Tensor, frequencies: Tensor | None = None) -> None:
        if self.weights is not None and isinstance(self.class_weights, list):
            if len(self.weights) != len(counts):
                raise InputError(f"class_weights: {len(self.weights)} weights for {len(counts)} classes.")
            return
        share = counts.float() / counts.sum()
        frequency = share if frequencies is None else frequencies.float()
        match self.class_weights:
            case "inverse":
                weights = 1 / (len(counts) * share)
            case "median_frequency":
                weights = frequency[frequency > 0].quantile(0.5) / frequency
            case "sqrt_median_frequency":
                weights = (frequency[frequency > 0].quantile(0.5) / frequency).sqrt()
            case _:
                return
        self.weights = torch.where(share > 0, weights, 1.0)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.weights is not None:
            self.weights = self.weights.to(logits.device)
        return weighted_mean(self.values(logits.float(), target), target_weights(target, self.weights))

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each target, (B, ...); whatever where it is ignored."""
        return F.cross_entropy(logits, target, reduction="none", label_smoothing=self.label_smoothing)
