"""Focal loss."""

from __future__ import annotations

import torch
from torch import Tensor

from visiontasks.core.errors import InputError
from visiontasks.losses.base import class_terms
from visiontasks.losses.cross_entropy import ClassWeights, CrossEntropy


class Focal(CrossEntropy):
    """Focal loss on softmax: -(1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 4); gamma 0 is cross-entropy.

    For two classes it equals the binary form, -sum [t (1-y)^g log y + (1-t) y^g log(1-y)]. Of mixed
    labels each class's own term is taken.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        gamma: How much well-classified examples are held down, >= 0.
        class_weights: As in `CrossEntropy`; the paper's alpha.
    """

    def __init__(self, gamma: float = 2.0, class_weights: ClassWeights = None) -> None:
        super().__init__(class_weights=class_weights)
        if gamma < 0:
            raise InputError(f"gamma: {gamma} must not be negative.")
        self.gamma = gamma

    def values(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            return class_terms(self._focal(logits.log_softmax(1)), target)
        return self._focal(-super().values(logits, target))

    def _focal(self, log_p: Tensor) -> Tensor:
        # the slope of x ** gamma is infinite at 0 for gamma < 1
        rest = -torch.expm1(log_p).clamp(max=-1e-7)
        return -(rest**self.gamma) * log_p
