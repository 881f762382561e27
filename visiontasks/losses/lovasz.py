"""The Lovasz extension of the intersection over union."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.losses.base import Loss
from visiontasks.losses.overlap import Per


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
        probabilities = logits.float().softmax(1).reshape(*logits.shape[:2], -1)
        images = list(zip(probabilities, target, strict=True))
        if self.per == "batch":
            images = [(probabilities.transpose(0, 1), target)]
        losses = [_extensions(classes.unbind(), labels.flatten()) for classes, labels in images]
        known = [loss.mean() for loss in losses if len(loss)]
        return torch.stack(known).mean() if known else probabilities.sum() * 0


def _extensions(probabilities: Sequence[Tensor], labels: Tensor) -> Tensor:
    """The extension for each class among the labels (N,), of the probabilities of each class, N values."""
    kept = labels != IGNORE_LABEL
    some = not kept.all()
    found = []
    for label in labels[kept].unique().tolist():
        there, p = labels == label, probabilities[label].flatten()
        if some:
            there, p = there[kept], p[kept]
        errors, order = torch.where(there, 1 - p, p).sort(descending=True)
        found.append(errors @ _slopes(there[order].float()))
    return torch.stack(found) if found else probabilities[0].new_zeros(0)


def _slopes(there: Tensor) -> Tensor:
    """How much each pixel adds to 1 - IoU when it is wrong beside those before it."""
    found = there.cumsum(0)
    total, places = found[-1], torch.arange(1, len(there) + 1, device=there.device)
    lost = 1 - (total - found) / (total + places - found)
    return lost.diff(prepend=lost.new_zeros(1))
