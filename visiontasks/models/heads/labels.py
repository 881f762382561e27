"""Multilabel head: any number of classes per image."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses import BinaryCrossEntropy, Loss
from visiontasks.models.heads.base import Head
from visiontasks.models.heads.pool import Pool, linear, pool, pooled_width
from visiontasks.models.ridge import fit_ridge


class LabelsHead(Head):
    """Pooled features, dropout, and one logit per class, each a decision of its own.

    The threshold of each class is the one with the highest F1 on the validation set, chosen at the end of each
    validation of a fit and stored in the checkpoint.

    Args:
        channels: Channels of each feature map.
        num_classes: Number of classes.
        pool: Mean over the map, maximum, both side by side, or all its values; see `LabelHead`.
        dropout: Probability of dropping a pooled feature, 0..1.
        loss: Logits against labels.

    Raises:
        InputError: There is no class, or the loss compares something else.
    """

    key = "labels"

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        pool: Pool = "avg",
        dropout: float = 0.0,
        loss: Loss = BinaryCrossEntropy(),
    ) -> None:
        super().__init__()
        if not num_classes:
            raise InputError("LabelsHead: the data has no `labels`. Use a dataset with several classes per image.")
        self.check_loss(loss, "labels")
        self.pool, self.criterion = pool, deepcopy(loss)
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(pooled_width(pool, channels[-1]), num_classes)
        self.thresholds: Tensor
        self.prior: Tensor
        self.register_buffer("thresholds", torch.full((num_classes,), 0.5))
        self.register_buffer("prior", torch.full((2, num_classes), 0.5))
        self.register_load_state_dict_post_hook(lambda head, _: head._tell_frequencies())

    def setup(self, summary: dict[str, Any]) -> None:
        self.prior.copy_(torch.from_numpy(self.target.baseline(summary)))
        self._tell_frequencies()

    def forward(self, features: list[Tensor]) -> Tensor:
        """Returns logits, float (B, num_classes)."""
        return self.classifier(self.dropout(pool(features[-1], self.pool)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.criterion(output, target)

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes probabilities and thresholds, float (B, 2, num_classes)."""
        probabilities = output.float().sigmoid()
        return torch.stack([probabilities, self.thresholds.float().expand_as(probabilities)], 1)

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        probabilities, thresholds = self.postprocess(output).unbind(1)
        return torch.stack([probabilities, target, thresholds], 1)

    def baseline(self) -> Tensor:
        return self.prior

    def calibrate(self, counts: np.ndarray) -> np.ndarray:
        """Chooses the threshold of each class; one that does not occur keeps its own."""
        probability, true, _ = counts.swapaxes(0, 1)
        for number in range(len(self.thresholds)):
            known = np.isfinite(true[:, number])
            best = best_threshold(probability[known, number], true[known, number] == 1)
            self.thresholds[number] = self.thresholds[number] if best is None else best
        counts = counts.copy()
        counts[:, 2] = self.thresholds.float().cpu().numpy()
        return counts

    def design(self, features: list[Tensor]) -> Tensor:
        return pool(features[-1], self.pool)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Ridge regression on 0 and 1, each class on the images where it is known, then Platt's scaling to logits."""
        known = target.isfinite()
        groups = [(known[:, 0], range(target.shape[1]))]
        if not known.all():
            groups = [(known[:, number], range(number, number + 1)) for number in range(target.shape[1])]
        for rows, classes in groups:
            chosen = list(classes)
            ridge = fit_ridge(design[rows], target[rows][:, chosen].to(design.dtype), index[rows])
            for place, number in enumerate(chosen):
                slope, shift = fit_platt(ridge.left_out[:, place], target[rows, number])
                with torch.no_grad():
                    self.classifier.weight[number] = slope * ridge.weight[place]
                    self.classifier.bias[number] = slope * ridge.bias[place] + shift
        return {"classes": float(target.shape[1])}

    def _tell_frequencies(self) -> None:
        self.criterion.set_label_counts(self.prior[0], self.prior[0])


def best_threshold(probabilities: np.ndarray, positive: np.ndarray) -> float | None:
    """Returns the threshold with the highest F1, in the middle between two probabilities; None without a positive.

    Args:
        probabilities: Of each image, (N,).
        positive: Whether it has the class, (N,).
    """
    if not positive.any():
        return None
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    f1 = 2 * np.cumsum(positive[order]) / (np.arange(1, len(order) + 1) + positive.sum())
    f1[:-1][ordered[:-1] == ordered[1:]] = 0  # equal probabilities are on one side
    last = int(f1.argmax())
    return float(ordered[last] + (ordered[last + 1] if last + 1 < len(ordered) else 0)) / 2


def fit_platt(outputs: Tensor, target: Tensor, steps: int = 50) -> tuple[float, float]:
    """Fits the logit slope * output + shift of 0/1 targets by Newton's method (Platt 1999, section 2.2).

    Args:
        outputs: Of images that the fit has not seen, float (N,).
        target: 0 or 1, float (N,).
        steps: Newton steps, at most.
    """
    x, positive = outputs.double(), target.double()
    number = positive.sum()
    smooth = torch.where(positive == 1, (number + 1) / (number + 2), 1 / (len(x) - number + 2))
    design = torch.stack([x, torch.ones_like(x)], 1)
    weights = x.new_tensor([0.0, float(((number + 1) / (len(x) - number + 1)).log())])
    for _ in range(steps):
        p = (design @ weights).sigmoid()
        slope = design.T @ (p - smooth)
        curve = (design.T * (p * (1 - p))) @ design + 1e-9 * torch.eye(2).to(design)
        step = torch.linalg.solve(curve, slope)
        weights = weights - step * (10 / step.abs().max().clamp(min=10))  # no step is longer than 10
        if step.abs().max() < 1e-8:
            break
    return float(weights[0]), float(weights[1])
