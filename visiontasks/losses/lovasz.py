"""The Lovasz extension of the intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor

from visiontasks.losses.base import Loss
from visiontasks.losses.overlap import Per
from visiontasks.samples import IGNORE_LABEL, InputError


class Lovasz(Loss):
    """Lovasz-softmax: the convex extension of 1 - IoU at the errors of each class, averaged over those that occur.

    Berman, Rannen Triki and Blaschko 2018, eq. 11 and algorithm 1.

    Shape:
        logits (B, C, ...); target int64 (B, ...); result ().

    Args:
        per: Whether pixels are sorted over the whole batch or image by image.

    Raises:
        InputError: Targets are probabilities: of those there is no set to be met.
    """

    def __init__(self, per: Per = "batch") -> None:
        super().__init__()
        self.per = per

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            raise InputError("Lovasz: labels cannot be mixed. Leave the Mix callback out, or choose another loss.")
        # class by class of pixels in a row: each is sorted on its own
        probabilities = logits.float().softmax(1).reshape(*logits.shape[:2], -1)
        images = list(zip(probabilities, target.reshape(len(target), -1), strict=True))
        if self.per == "batch":
            images = [(probabilities.transpose(0, 1).flatten(1), target.flatten())]
        losses = [_extensions(rows, labels) for rows, labels in images]
        known = [loss.mean() for loss in losses if len(loss)]
        return torch.stack(known).mean() if known else probabilities.sum() * 0


def _extensions(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The extension for each class among the labels (N,), of probabilities (C, N)."""
    kept = labels != IGNORE_LABEL
    if not kept.all():
        probabilities, labels = probabilities[:, kept], labels[kept]
    found = []
    for label in labels.unique().tolist():
        there = labels == label
        errors, order = torch.where(there, 1 - probabilities[label], probabilities[label]).sort(descending=True)
        found.append(errors @ _slopes(there[order].float()))
    return torch.stack(found) if found else probabilities.new_zeros(0)


def _slopes(there: Tensor) -> Tensor:
    """How much each pixel adds to 1 - IoU when it is wrong beside those before it."""
    total = there.sum()
    lost = 1 - (total - there.cumsum(0)) / (total + (1 - there).cumsum(0))
    return lost.diff(prepend=lost.new_zeros(1))
