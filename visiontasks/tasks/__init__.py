"""A task is a backbone with heads."""

from visiontasks.tasks.base import VisionTask
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.schedules import Constant, Cosine, Exponential, InverseTime, Schedule, Step
from visiontasks.tasks.vision import (
    ClassificationTask,
    DetectionTask,
    LocalizationTask,
    MultilabelTask,
    RegressionTask,
    SegmentationTask,
)

__all__ = [
    "ClassificationTask", "Constant", "Cosine", "DefaultAdamW", "DetectionTask", "Exponential", "InverseTime",
    "LocalizationTask", "MultilabelTask", "RegressionTask", "Schedule", "SegmentationTask", "Step", "VisionTask",
]  # fmt: skip
