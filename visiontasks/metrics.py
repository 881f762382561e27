"""The metrics of each kind of answer, by stage."""

from __future__ import annotations

from typing import Any

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

from visiontasks.samples import IGNORE_LABEL

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
