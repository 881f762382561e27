"""Classification head: one class per image."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection, classification
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL, Sample
from visiontasks.losses import CrossEntropy, Loss
from visiontasks.models.heads.base import Head, Stage, class_counts
from visiontasks.models.heads.pool import Pool, linear, pool, pooled_width
from visiontasks.models.ridge import fit_ridge, fit_temperature


class LabelHead(Head):
    """Pooled features, dense layers, and one logit per class.

    Args:
        pool: `avg`, `max`, `avgmax` (both, concatenated), or `flatten`: all values of the map, for one image size only.
        hidden: Widths of the dense layers before the last, each followed by ReLU.
        dropout: Probability of dropping a hidden unit, or a pooled feature if there are no hidden layers, 0..1.
        loss: Loss of classes.
        distance: A logit is minus the squared distance to a learned vector of the class, as in LeNet-5 (LeCun et al.
            1998, eq. 7), instead of a linear function.
    """

    key = "label"

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
            raise InputError(f"LabelHead: {num_classes} class; classification needs at least two. Add another class.")
        self.pool, self.num_classes, self.criterion = pool, num_classes, self.check_loss(loss, "classes")
        width = pooled_width(pool, channels[-1])
        layers: list[nn.Module] = []
        for units in hidden:
            layers += [linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.hidden = nn.Sequential(*layers)
        self.dropout = nn.Identity() if hidden else nn.Dropout(dropout)
        if distance and not width:
            raise InputError("LabelHead: distance and `pool: flatten` need a hidden layer between them.")
        self.classifier = Distance(width, num_classes) if distance else linear(width, num_classes)
        self.has_closed_form = not (hidden or distance)
        self.prior = nn.Buffer(torch.full((num_classes,), 1 / num_classes))
        self.register_load_state_dict_post_hook(lambda head, _: head.criterion.set_label_counts(head.prior))

    def setup(self, summary: dict[str, Any]) -> None:
        self.prior.copy_(torch.from_numpy(self.target.baseline(summary)))
        self.criterion.set_label_counts(torch.from_numpy(summary["counts"]).to(self.prior.device))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes logits, float (B, num_classes)."""
        return self.classifier(self.dropout(self.hidden(pool(features[-1], self.pool))))

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes probabilities, float (B, num_classes)."""
        return output.float().softmax(1)

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        return class_counts(output.argmax(1), target, self.num_classes, IGNORE_LABEL)

    def baseline(self) -> Tensor:
        return self.prior

    def extras(self, stage: Stage) -> MetricCollection:
        """Returns `top5` (if there are more than five classes); for a test also `auroc` (see `MeanAUROC`), `ece`
        (expected calibration error, 15 bins; Guo et al. 2017, eq. 3) and the `confusion` matrix."""
        common: dict[str, Any] = {"num_classes": self.num_classes, "ignore_index": IGNORE_LABEL, "validate_args": False}
        found: dict[str, Metric] = {}
        if self.num_classes > 5:
            found["top5"] = classification.MulticlassAccuracy(top_k=5, average="micro", **common)
        if stage == "test":
            found["auroc"] = MeanAUROC(**common)
            found["ece"] = classification.MulticlassCalibrationError(n_bins=15, **common)
            found["confusion"] = classification.MulticlassConfusionMatrix(**common)
        return MetricCollection(dict(found), compute_groups=False)

    def extra_inputs(self, predictions: list[Sample], truths: list[Sample]) -> tuple[Tensor, Tensor]:
        """Stacks the probabilities and labels of images."""
        scores = np.stack([prediction["probabilities"] for prediction in predictions])
        return torch.from_numpy(scores), torch.tensor([truth.get("label", IGNORE_LABEL) for truth in truths])

    def design(self, features: list[Tensor]) -> Tensor:
        return pool(features[-1], self.pool) if self.has_closed_form else super().design(features)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Solves ridge regression on one-hot labels, then scales its outputs to logits by a temperature."""
        known = target != IGNORE_LABEL
        design, target = design[known], target[known]
        ridge = fit_ridge(design, nn.functional.one_hot(target, self.num_classes).to(design.dtype), index[known])
        factor = fit_temperature(ridge.left_out, target)
        assert isinstance(self.classifier, nn.Linear)
        ridge.copy_to(self.classifier, factor)
        accuracy = (ridge.left_out.argmax(1) == target).float().mean()
        return {"strength": ridge.strength, "temperature": factor, "left_out_accuracy": float(accuracy)}


class MeanAUROC(classification.MulticlassAUROC):
    """Area under the ROC curve of each class against the rest, averaged over the classes that occur; NaN with less than
    two of them."""

    def compute(self) -> Tensor:
        scores, labels = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        classes = labels.unique().tolist()
        found = [binary_auroc(scores[:, label], (labels == label).long()) for label in classes]
        return torch.stack(found).mean() if len(found) > 1 else scores.new_tensor(torch.nan)


class Distance(nn.Module):
    """Minus the squared distances of features, float (B, D), to the vectors of the classes: (B, C).

    The vectors start as random corners of a cube, -1 and 1; the published ones are drawn by hand.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(2.0 * torch.randint(2, (outputs, inputs)) - 1)

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None] - self.vectors).square().sum(2)
