"""The metrics of each kind of answer, by stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from visiontasks.core.sample import IGNORE_LABEL, IGNORE_MASK

COMMON: dict[str, Any] = {"ignore_index": IGNORE_LABEL, "validate_args": False}


def label_metrics(num_classes: int, stage: str) -> MetricCollection:
    """Metrics of class probabilities (B, C) against labels int64 (B,), -100 ignored.

    train: `accuracy`. val: also `top5` (where there are more than five classes) and `f1`, the mean
    over classes. test: also `auroc` (mean over classes, one against the rest) and `ece` (expected
    calibration error, 15 bins; Guo et al. 2017, eq. 3).
    """
    metrics: dict[str, Metric] = {"accuracy": MulticlassAccuracy(num_classes, average="micro", **COMMON)}
    if stage != "train":
        if num_classes > 5:
            metrics["top5"] = MulticlassAccuracy(num_classes, top_k=5, average="micro", **COMMON)
        metrics["f1"] = MulticlassF1Score(num_classes, average="macro", **COMMON)
    if stage == "test":
        metrics["auroc"] = MulticlassAUROC(num_classes, average="macro", **COMMON)
        metrics["ece"] = MulticlassCalibrationError(num_classes, n_bins=15, **COMMON)
    return MetricCollection(dict(metrics), compute_groups=False)  # each is logged, and so reset, by itself


def label_tables(num_classes: int) -> MetricCollection:
    """`recall`, `precision` and `f1` of each class (C,), and the `confusion` matrix (C, C), rows true."""
    return MetricCollection(
        {
            "recall": MulticlassRecall(num_classes, average="none", **COMMON),
            "precision": MulticlassPrecision(num_classes, average="none", **COMMON),
            "f1": MulticlassF1Score(num_classes, average="none", **COMMON),
            "confusion": MulticlassConfusionMatrix(num_classes, **COMMON),
        }
    )


class BoxScore(Metric):
    """Mean IoU of boxes, or the share of them whose IoU is above a threshold (averaged over the thresholds).

    Args:
        thresholds: If given, the IoUs to exceed, 0..1.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, thresholds: Sequence[float] | None = None) -> None:
        super().__init__()
        self.thresholds = thresholds
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, boxes: Tensor, target: Tensor) -> None:
        """Adds boxes xyxy, float (B, 4); targets that are NaN are left out."""
        iou = box_iou(boxes, target)[target.isfinite().all(1)]
        limits = iou.new_tensor(self.thresholds) if self.thresholds else None
        values = iou if limits is None else (iou[:, None] > limits).float().mean(1)
        self.total += values.sum()
        self.count += len(values)

    def compute(self) -> Tensor:
        return self.total / self.count


class ClassMean(Metric):
    """Mean of a value over the samples of each class, float (classes,); NaN for a class without any.

    Args:
        num_classes: Number of classes.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(num_classes), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(num_classes), dist_reduce_fx="sum")

    def update(self, values: Tensor, labels: Tensor) -> None:
        """Adds values float (B,) of samples with labels int64 (B,)."""
        self.total.index_add_(0, labels, values.float())
        self.count.index_add_(0, labels, torch.ones_like(values, dtype=torch.float32))

    def compute(self) -> Tensor:
        return self.total / self.count


def box_metrics(stage: str) -> MetricCollection:
    """Metrics of boxes xyxy (B, 4) against boxes, of which a NaN is none.

    `iou`: the mean. val and test: also the share above 0.5 and 0.75, `iou50` and `iou75`, and the mean of the shares
    above 0.5, 0.55 ... 0.95, `iou5095`.
    """
    metrics: dict[str, Metric] = {"iou": BoxScore()}
    if stage != "train":
        every = [0.5 + 0.05 * step for step in range(10)]
        metrics |= {"iou50": BoxScore([0.5]), "iou75": BoxScore([0.75]), "iou5095": BoxScore(every)}
    return MetricCollection(dict(metrics), compute_groups=False)


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each pair of boxes xyxy, float (B, 4) and (B, 4): (B,); 0 of boxes without area."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    inside = (high - low).clamp(min=0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - inside
    return inside / union.clamp(min=torch.finfo(union.dtype).tiny)  # NaN stays NaN


MaskFigure = Literal["iou", "dice", "recall", "accuracy", "confusion"]


class MaskScore(Metric):
    """A figure of the confusion matrix of all pixels of a split: not a mean over images, whatever the batches.

    Args:
        num_classes: Number of classes.
        figure: Which one; see `mask_score`.
        average: Whether to average over the classes.
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, num_classes: int, figure: MaskFigure = "iou", average: bool = True) -> None:
        super().__init__()
        self.num_classes, self.figure, self.average = num_classes, figure, average
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, masks: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> None:
        """Adds class indices (B, H, W) and their targets, of which 255 is ignored; or a list of (H, W) of each."""
        if isinstance(masks, Tensor) and isinstance(target, Tensor):
            masks, target = [masks], [target]
        for mask, truth in zip(masks, target, strict=True):
            self.confusion += confusion(mask, truth, self.num_classes)

    def compute(self) -> Tensor:
        return mask_score(self.confusion, self.figure, self.average)


def mask_metrics(num_classes: int, stage: str) -> MetricCollection:
    """Metrics of class indices (B, H, W) against masks, 255 ignored.

    `miou`: mean intersection over union. val and test: also `dice` and `pixel_accuracy`.
    """
    metrics: dict[str, Metric] = {"miou": MaskScore(num_classes)}
    if stage != "train":
        metrics |= {"dice": MaskScore(num_classes, "dice"), "pixel_accuracy": MaskScore(num_classes, "accuracy")}
    return MetricCollection(dict(metrics), compute_groups=False)


def mask_tables(num_classes: int) -> MetricCollection:
    """`iou`, `dice` and `recall` of each class (C,), and the `confusion` matrix of pixels (C, C), rows true."""
    figures: tuple[MaskFigure, ...] = ("iou", "dice", "recall", "confusion")
    return MetricCollection({figure: MaskScore(num_classes, figure, average=False) for figure in figures})


def mask_score(matrix: Tensor, figure: MaskFigure = "iou", average: bool = True) -> Tensor:
    """A figure of a confusion matrix, int64 (C, C), rows true.

    `iou` is the intersection over union, `dice` the Dice coefficient and `recall` the share found of each class,
    float (C,), NaN where it does not occur. Averaged, over the classes that occur among targets or predictions, the
    first two are what papers call mean IoU and mean Dice. `accuracy` is the share of all pixels that are right,
    `confusion` the matrix itself.
    """
    if figure == "confusion":
        return matrix
    right = matrix.diagonal()
    there, predicted = matrix.sum(1), matrix.sum(0)
    if figure == "accuracy":
        return right.sum() / there.sum()
    both = there + predicted
    values = {"iou": right / (both - right), "dice": 2 * right / both, "recall": right / there}[figure]
    return values[both > 0].mean() if average else values


def confusion(mask: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Counts of pixels by their target's class (rows) and the predicted one, int64 (C, C); 255 is left out."""
    cells = num_classes**2
    pairs = torch.where(target == IGNORE_MASK, cells, target.int() * num_classes + mask.int())
    return pairs.flatten().bincount(minlength=cells + 1)[:-1].reshape(num_classes, num_classes)
