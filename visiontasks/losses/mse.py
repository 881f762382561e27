"""Squared error on probabilities."""

from __future__ import annotations

from torch import Tensor

from visiontasks.losses.base import Loss, class_terms, target_weights, weighted_mean


class ProbabilityMSE(Loss):
    """Mean over classes of (p_c - t_c)^2 with p the softmax of the logits (Brier 1950, divided by C).

    Its slope is gentle where a prediction is surely wrong, so it learns slower than cross-entropy.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        p = logits.float().softmax(1)
        norm = target.square().sum(1) if target.is_floating_point() else 1.0
        errors = p.square().sum(1) - 2 * class_terms(p, target) + norm  # sum (p - t)^2, without a one-hot t
        return weighted_mean(errors / p.shape[1], target_weights(target))
