"""Which class."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.losses import CrossEntropy, Loss
from visiontasks.models.heads.base import Head, Stage
from visiontasks.models.ridge import fit_ridge, fit_temperature
from visiontasks.targets.metrics import label_metrics, label_tables

Pool = Literal["avg", "max", "avgmax", "flatten"]


class LabelHead(Head):
    """Pooled features, dense layers, one logit a class.

    Args:
        channels: Channels of each feature map.
        num_classes: Number of classes.
        pool: Mean over the map, maximum, both side by side, or all its values: `flatten` keeps the
            place, and with it one image size.
        hidden: Widths of the dense layers before the last, each followed by ReLU.
        dropout: Probability of dropping a unit of the dense layers before the last, or without these a pooled feature,
            0..1.
        loss: Logits against labels.
        distance: A logit is minus the squared distance of its input to a learnt vector of the class, as in LeNet-5
            (LeCun et al. 1998, eq. 7), and not a linear function.
    """

    key, monitor = "label", "accuracy"

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        pool: Pool = "avg",
        hidden: list[int] = [],  # noqa: B006 - never changed, and jsonargparse shows it
        dropout: float = 0.0,
        loss: Loss = CrossEntropy(label_smoothing=0.1),
        distance: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise InputError(
                f"LabelHead: {num_classes} class; classification needs at least two. Add images of others."
            )
        self.check_loss(loss, "classes")
        self.pool, self.num_classes = pool, num_classes
        self.criterion = deepcopy(loss)  # a default is one object for all heads
        width = {"avg": 1, "max": 1, "avgmax": 2, "flatten": 0}[pool] * channels[-1]
        layers: list[nn.Module] = []
        for units in hidden:
            layers += [_linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.hidden = nn.Sequential(*layers)
        self.dropout = nn.Identity() if hidden else nn.Dropout(dropout)
        if distance and not width:
            raise InputError("LabelHead: distance and `pool: flatten` need a hidden layer between them.")
        self.classifier = Distance(width, num_classes) if distance else _linear(width, num_classes)
        self.has_closed_form = not (hidden or distance)
        self.prior: Tensor
        self.register_buffer("prior", torch.full((num_classes,), 1 / num_classes))
        self.register_load_state_dict_post_hook(lambda head, _: head.criterion.set_label_counts(head.prior))

    def setup(self, summary: dict[str, Any]) -> None:
        if "label_counts" not in summary:
            raise InputError("LabelHead: the training set has no labels. Use a dataset with classes.")
        counts = summary["label_counts"].to(self.prior.device)
        self.prior.copy_(counts / counts.sum())
        self.criterion.set_label_counts(counts)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Returns logits, float (B, num_classes)."""
        return self.classifier(self.dropout(self.hidden(self._bridge(features))))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.criterion(output, target)

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """Returns `label` int64 (B,), its `score` (B,) and all `probabilities` (B, num_classes)."""
        probabilities = self.scores(output)
        score, label = probabilities.max(1)
        return {"label": label, "score": score, "probabilities": probabilities}

    def metrics(self, stage: Stage) -> MetricCollection:
        return label_metrics(self.num_classes, stage)

    def tables(self) -> MetricCollection:
        return label_tables(self.num_classes)

    def quality(self, output: Tensor, target: Tensor) -> Tensor:
        """The probability of the true class."""
        probability = self.scores(output).gather(1, target.clamp(min=0)[:, None])[:, 0]
        return torch.where(target == IGNORE_LABEL, torch.nan, probability)

    def no_target(self, images: Tensor) -> Tensor:
        return torch.full((len(images),), IGNORE_LABEL, device=images.device)

    def scores(self, output: Tensor) -> Tensor:
        return output.float().softmax(1)

    def floor(self, target: Tensor) -> Tensor:
        """The share of each class in the training set: its best guess is the majority class."""
        return self.prior.expand(len(target), -1)

    def design(self, features: list[Tensor]) -> Tensor:
        return self._bridge(features) if self.has_closed_form else super().design(features)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Ridge regression on one-hot labels, then the temperature that makes its outputs logits."""
        known = target != IGNORE_LABEL
        design, target = design[known], target[known]
        ridge = fit_ridge(design, nn.functional.one_hot(target, self.num_classes).to(design.dtype), index[known])
        factor = fit_temperature(ridge.left_out, target)
        assert isinstance(self.classifier, nn.Linear)
        with torch.no_grad():
            self.classifier.weight.copy_(factor * ridge.weight)
            self.classifier.bias.copy_(factor * ridge.bias)
        accuracy = (ridge.left_out.argmax(1) == target).float().mean()
        return {"strength": ridge.strength, "temperature": factor, "left_out_accuracy": float(accuracy)}

    def _bridge(self, features: list[Tensor]) -> Tensor:
        final = features[-1]
        match self.pool:
            case "avg":
                return final.mean((2, 3))
            case "max":
                return final.amax((2, 3))
            case "avgmax":
                return torch.cat([final.mean((2, 3)), final.amax((2, 3))], 1)
            case "flatten":
                return final.flatten(1)


class Distance(nn.Module):
    """Minus the squared distances of float (B, D) to the vectors of the classes: (B, C).

    The vectors start as random corners of a cube, -1 and 1, as the published ones are drawn by hand.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(2.0 * torch.randint(2, (outputs, inputs)) - 1)

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None] - self.vectors).square().sum(2)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A width of 0 is not known before the first batch."""
    return nn.Linear(inputs, outputs) if inputs else nn.LazyLinear(outputs)
