"""Losses that average over targets: cross-entropy, focal loss and squared error of probabilities."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.losses.base import Loss, class_terms, target_weights, weighted_mean

ClassWeights = Literal["inverse", "median_frequency", "sqrt_median_frequency"] | list[float] | None


class CrossEntropy(Loss):
    """Cross-entropy of softmax: -sum_c w_c t_c log p_c with class weights w, equal to torch's.

    The sum over targets is divided by the sum of the weights of their classes if they are indices, and by their number
    if they are probabilities. Label smoothing changes t, so that w weighs the added mass too.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        label_smoothing: Share of a target's mass spread over all classes, 0..1 (Szegedy et al. 2016, section 7).
        class_weights: One weight per class, or a rule that computes them from the training set: `inverse` is inversely
            proportional to the count of the class; `median_frequency` is the median of all frequencies divided by that
            of the class, its share of the pixels of images in which it occurs (Eigen and Fergus 2015, section 6.3.2);
            `sqrt_median_frequency` is the square root of that. A class that does not occur has a weight of 1.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: ClassWeights = None) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing: {label_smoothing} must be at least 0 and below 1.")
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        # not a buffer: weight averaging copies the buffers before the training set is known
        self.weights = torch.tensor(class_weights, dtype=torch.float32) if isinstance(class_weights, list) else None

    def set_label_counts(self, counts: Tensor, frequencies: Tensor | None = None) -> None:
        if isinstance(self.class_weights, list) and len(self.class_weights) != len(counts):
            raise InputError(f"class_weights: {len(self.class_weights)} weights for {len(counts)} classes.")
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
        weights = target_weights(target, self.weights)
        return self.values(logits.float(), target).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        """Computes the weighted loss of each target, (B, ...); 0 where it is ignored."""
        return F.cross_entropy(logits, target, self.weights, reduction="none", label_smoothing=self.label_smoothing)


class Focal(CrossEntropy):
    """Focal loss on softmax: -(1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 4); gamma 0 is cross-entropy.

    For two classes it equals the binary form, -sum [t (1-y)^g log y + (1-t) y^g log(1-y)]. For mixed labels it is the
    mean of the terms of the classes, weighted by the probabilities.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        gamma: How strongly well-classified examples are weighted down, >= 0.
        class_weights: See `CrossEntropy`; alpha in the paper.
    """

    def __init__(self, gamma: float = 2.0, class_weights: ClassWeights = None) -> None:
        super().__init__(class_weights=class_weights)
        if gamma < 0:
            raise InputError(f"gamma: {gamma} must not be negative.")
        self.gamma = gamma

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        if not target.is_floating_point():
            entropy = F.cross_entropy(logits, target, reduction="none")
            return self._focal(-entropy) * target_weights(target, self.weights)
        terms = self._focal(logits.log_softmax(1))
        weights = terms.new_ones(terms.shape[1]) if self.weights is None else self.weights
        return class_terms(terms * weights.view(-1, *[1] * (terms.ndim - 2)), target)

    def _focal(self, log_p: Tensor) -> Tensor:
        # the gradient of x ** gamma is infinite at 0 for gamma < 1
        rest = -torch.expm1(log_p).clamp(max=-1e-7)
        return -(rest**self.gamma) * log_p


class ProbabilityMSE(Loss):
    """Mean over classes of (p_c - t_c)^2, where p is the softmax of the logits (Brier 1950, divided by C).

    Its gradient is small for confident wrong predictions, so a model learns more slowly than with cross-entropy.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        p = logits.float().softmax(1)
        norm = target.square().sum(1) if target.is_floating_point() else 1.0
        errors = p.square().sum(1) - 2 * class_terms(p, target) + norm  # sum (p - t)^2, without a one-hot t
        return weighted_mean(errors / p.shape[1], target_weights(target))
