"""Losses on the overlap of what is predicted with what is there, class by class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from visiontasks.core.errors import InputError
from visiontasks.losses.base import Loss, class_terms, target_weights, weighted_mean

Per = Literal["batch", "image"]


class Tversky(Loss):
    """One minus the Tversky index of each class, TP / (TP + alpha FP + beta FN), averaged over those that occur.

    The counts are sums of probabilities (Salehi, Erdogmus and Gholipour 2017, eq. 4). A class without a pixel
    among the targets does not count: there is no overlap to be had.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        alpha: Weight of what is predicted and is not there.
        beta: Weight of what is there and is not predicted.
        per: Whether pixels are counted over the whole batch or image by image.
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, per: Per = "batch") -> None:
        super().__init__()
        if min(alpha, beta) < 0 or alpha + beta == 0:
            raise InputError(f"{type(self).__name__}: alpha={alpha} and beta={beta} must not be negative, nor both 0.")
        self.alpha, self.beta, self.per = alpha, beta, per

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        probabilities = logits.float().softmax(1).reshape(*logits.shape[:2], -1)
        target = target.reshape(*(logits.shape[:2] if target.is_floating_point() else logits.shape[:1]), -1)
        kept = target_weights(target)
        predicted = torch.einsum("bcn,bn->bc", probabilities, kept)
        if target.is_floating_point():
            right, there = (probabilities * target).sum(2), target.sum(2)
        else:
            labels, zeros = target.clamp(min=0), torch.zeros_like(predicted)
            right = zeros.scatter_add(1, labels, class_terms(probabilities, target) * kept)
            there = zeros.scatter_add(1, labels, kept)
        if self.per == "batch":
            predicted, right, there = predicted.sum(0), right.sum(0), there.sum(0)
        whole = right + self.alpha * (predicted - right) + self.beta * (there - right)
        return weighted_mean(1 - right / whole.clamp(min=torch.finfo(whole.dtype).tiny), (there > 0).float())


class Dice(Tversky):
    """One minus the Dice coefficient, 2 TP / (2 TP + FP + FN): Tversky with both weights 1/2.

    Milletari, Navab and Ahmadi 2016, section 3, without the squares; F1 of the probabilities.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        per: Whether pixels are counted over the whole batch or image by image.
    """

    def __init__(self, per: Per = "batch") -> None:
        super().__init__(0.5, 0.5, per)


class Jaccard(Tversky):
    """One minus the intersection over union, TP / (TP + FP + FN): Tversky with both weights 1.

    Rahman and Wang 2016, section 3.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        per: Whether pixels are counted over the whole batch or image by image.
    """

    def __init__(self, per: Per = "batch") -> None:
        super().__init__(1.0, 1.0, per)
