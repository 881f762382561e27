"""A task is a backbone with heads."""

from visiontasks.tasks.base import VisionTask
from visiontasks.tasks.classification import ClassificationTask
from visiontasks.tasks.localization import LocalizationTask
from visiontasks.tasks.multilabel import MultilabelTask
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.regression import RegressionTask
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
    "MultilabelTask",
    "RegressionTask",
    "Schedule",
    "SegmentationTask",
    "Step",
    "VisionTask",
]
