"""Multilabel head: any number of classes per image."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses import BinaryCrossEntropy, Loss
from visiontasks.models.heads.base import Head
from visiontasks.models.heads.pool import Pool, linear, pool, pooled_width
from visiontasks.models.ridge import fit_ridge
from visiontasks.targets.label import mean_of_known
from visiontasks.targets.precision import average_precision


class LabelsHead(Head):
    """Pooled features, dropout, and one logit per class, each a decision of its own.

    The threshold of each class is the one with the highest F1, stored in the checkpoint: on the validation set at the
    end of each validation of a fit; before that, where the closed form solves the head, on the training images by
    leave-one-out.

    Args:
        pool: `avg`, `max`, `avgmax` or `flatten`; see `LabelHead`.
        dropout: Probability of dropping a pooled feature, 0..1.
        loss: Loss of labels.

    Raises:
        InputError: The data has no labels.
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
        self.pool, self.criterion = pool, self.check_loss(loss, "labels")
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(pooled_width(pool, channels[-1]), num_classes)
        self.thresholds = nn.Buffer(torch.full((num_classes,), 0.5))
        self.prior = nn.Buffer(torch.full((2, num_classes), 0.5))
        self.register_load_state_dict_post_hook(
            lambda head, _: head.criterion.set_label_counts(head.prior[0], head.prior[0])
        )

    def setup(self, summary: dict[str, Any]) -> None:
        self.prior.copy_(torch.from_numpy(self.target.baseline(summary)))
        self.criterion.set_label_counts(self.prior[0], self.prior[0])

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes logits, float (B, num_classes)."""
        return self.classifier(self.dropout(pool(features[-1], self.pool)))

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
        for number, (probability, true, _) in enumerate(counts.transpose(2, 1, 0)):
            known = np.isfinite(true)
            if (best := best_threshold(probability[known], true[known] == 1)) is not None:
                self.thresholds[number] = best
        counts = counts.copy()
        counts[:, 2] = self.thresholds.float().cpu().numpy()
        return counts

    def design(self, features: list[Tensor]) -> Tensor:
        return pool(features[-1], self.pool)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Solves ridge regression on 0 and 1, each class on the images where it is known, then scales its outputs to
        logits by Platt's method, and chooses its threshold."""
        known, classes = target.isfinite(), list(range(target.shape[1]))
        strengths, precisions = [], []
        for group in [classes] if known.all() else [[number] for number in classes if known[:, number].any()]:
            rows = known[:, group[0]]
            ridge = fit_ridge(design[rows], target[rows][:, group].to(design.dtype), index[rows])
            strengths.append(ridge.strength)
            for number, output, weight, bias in zip(group, ridge.left_out.T, ridge.weight, ridge.bias, strict=True):
                true = target[rows, number]
                slope, shift = fit_platt(output, true)
                probabilities = (slope * output + shift).sigmoid().numpy()
                if (best := best_threshold(probabilities, true.numpy() == 1)) is not None:
                    self.thresholds[number] = best
                with torch.no_grad():
                    self.classifier.weight[number] = slope * weight
                    self.classifier.bias[number] = slope * bias + shift
                precisions.append(average_precision(output.numpy(), true.numpy() == 1, np.ones((1, len(true)))))
        return {"strength": float(np.mean(strengths)), "left_out_map": float(mean_of_known(np.concatenate(precisions)))}


def best_threshold(probabilities: np.ndarray, positive: np.ndarray, total: float | None = None) -> float | None:
    """Returns the threshold with the highest F1, in the middle between two probabilities; None without a positive.

    Args:
        probabilities: Of each image or predicted object, (N,).
        positive: Whether it has the class, (N,).
        total: Number of positives, if some have no probability.
    """
    if not positive.any():
        return None
    total = positive.sum() if total is None else total
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    f1 = 2 * np.cumsum(positive[order]) / (np.arange(1, len(order) + 1) + total)
    f1[:-1][ordered[:-1] == ordered[1:]] = 0  # equal probabilities are on one side
    last = int(f1.argmax())
    return float(ordered[last] + (ordered[last + 1] if last + 1 < len(ordered) else 0)) / 2


def fit_platt(outputs: Tensor, target: Tensor, weights: Tensor | None = None, steps: int = 50) -> tuple[float, float]:
    """Fits the logit slope * output + shift of 0/1 targets by Newton's method (Platt 1999, section 2.2).

    Args:
        outputs: Of images that the fit has not seen, float (N,).
        target: 0 or 1, float (N,).
        weights: How often each one counts, float (N,); by default once.
        steps: Newton steps, at most.
    """
    x, positive = outputs.double(), target.double()
    times = torch.ones_like(x) if weights is None else weights.double()
    number, rest = (times * positive).sum(), (times * (1 - positive)).sum()
    smooth = torch.where(positive == 1, (number + 1) / (number + 2), 1 / (rest + 2))
    design = torch.stack([x, torch.ones_like(x)], 1)
    line = x.new_tensor([0.0, float(((number + 1) / (rest + 1)).log())])
    for _ in range(steps):
        p = (design @ line).sigmoid()
        slope = design.T @ (times * (p - smooth))
        curve = (design.T * (times * p * (1 - p))) @ design + 1e-9 * torch.eye(2).to(design)
        step = torch.linalg.solve(curve, slope)
        line = line - step * (10 / step.abs().max().clamp(min=10))  # no step is longer than 10
        if step.abs().max() < 1e-8:
            break
    return float(line[0]), float(line[1])
