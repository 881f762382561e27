"""A task is a backbone with heads."""

from visiontasks.tasks.base import VisionTask
from visiontasks.tasks.classification import ClassificationTask
from visiontasks.tasks.localization import LocalizationTask
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.schedules import Constant, Cosine, Exponential, InverseTime, Schedule, Step
from visiontasks.tasks.segmentation import SegmentationTask

__all__ = [
    "ClassificationTask",
    "Constant",
    "Cosine",
    "DefaultAdamW",
    "Exponential",
    "InverseTime",
    "LocalizationTask",
    "Schedule",
    "SegmentationTask",
    "Step",
    "VisionTask",
]
