"""Losses of the overlap of predicted and true pixels, per class."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.losses.base import Loss, class_terms, target_weights, weighted_mean

Per = Literal["batch", "image"]


class Tversky(Loss):
    """One minus the Tversky index of each class, TP / (TP + alpha FP + beta FN), averaged over the classes that occur.

    The counts are sums of probabilities (Salehi, Erdogmus and Gholipour 2017, eq. 4). A class without target pixels is
    left out, because it cannot overlap.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        per: Whether pixels are counted over the whole `batch` or per `image`.
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
            right, actual = (probabilities * target).sum(2), target.sum(2)
        else:
            labels, zeros = target.clamp(min=0), torch.zeros_like(predicted)
            right = zeros.scatter_add(1, labels, class_terms(probabilities, target) * kept)
            actual = zeros.scatter_add(1, labels, kept)
        if self.per == "batch":
            predicted, right, actual = predicted.sum(0), right.sum(0), actual.sum(0)
        whole = right + self.alpha * (predicted - right) + self.beta * (actual - right)
        return weighted_mean(1 - right / whole.clamp(min=torch.finfo(whole.dtype).tiny), (actual > 0).float())


class Dice(Tversky):
    """One minus the Dice coefficient, 2 TP / (2 TP + FP + FN): `Tversky` with both weights 1/2.

    Milletari, Navab and Ahmadi 2016, section 3, without the squares; also the F1 score of the probabilities.

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        per: Whether pixels are counted over the whole `batch` or per `image`.
    """

    def __init__(self, per: Per = "batch") -> None:
        super().__init__(0.5, 0.5, per)


class Jaccard(Tversky):
    """One minus the IoU, TP / (TP + FP + FN): `Tversky` with both weights 1 (Rahman and Wang 2016, section 3).

    Shape:
        logits (B, C, ...); target int64 (B, ...) or float (B, C, ...); result ().

    Args:
        per: Whether pixels are counted over the whole `batch` or per `image`.
    """

    def __init__(self, per: Per = "batch") -> None:
        super().__init__(1.0, 1.0, per)


class Lovasz(Loss):
    """Lovasz-softmax: the convex extension of 1 - IoU, of the errors of each class, averaged over classes that occur.

    Berman, Rannen Triki and Blaschko 2018, eq. 11 and algorithm 1.

    Shape:
        logits (B, C, ...); target int64 (B, ...); result ().

    Args:
        per: Whether pixels are sorted over the whole `batch` or per `image`.

    Raises:
        InputError: The targets are probabilities, for which the IoU is not defined.
    """

    def __init__(self, per: Per = "batch") -> None:
        super().__init__()
        self.per = per

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            raise InputError("Lovasz: labels cannot be mixed. Remove the Mix callback, or choose another loss.")
        probabilities = logits.float().softmax(1).reshape(*logits.shape[:2], -1)
        images = list(zip(probabilities, target, strict=True))
        if self.per == "batch":
            images = [(probabilities.transpose(0, 1), target)]
        losses = [_extensions(classes.unbind(), labels.flatten()) for classes, labels in images]
        known = [loss.mean() for loss in losses if len(loss)]
        return torch.stack(known).mean() if known else probabilities.sum() * 0


def _extensions(probabilities: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Computes the loss of each class that occurs in the labels (N,), from the N probabilities of every class."""
    kept = labels != IGNORE_LABEL
    some_ignored = not kept.all()
    found = []
    for label in labels[kept].unique().tolist():
        positive, p = labels == label, probabilities[label].flatten()
        if some_ignored:
            positive, p = positive[kept], p[kept]
        errors, order = torch.where(positive, 1 - p, p).sort(descending=True)
        found.append(errors @ _slopes(positive[order].float()))
    return torch.stack(found) if found else probabilities[0].new_zeros(0)


def _slopes(positive: Tensor) -> Tensor:
    """Computes how much each pixel adds to 1 - IoU when it is wrong and all pixels before it are wrong too."""
    found = positive.cumsum(0)
    total, ranks = found[-1], torch.arange(1, len(positive) + 1, device=positive.device)
    jaccard = 1 - (total - found) / (total + ranks - found)
    return jaccard.diff(prepend=jaccard.new_zeros(1))
