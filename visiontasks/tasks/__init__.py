"""A task is a backbone with heads."""

from visiontasks.tasks.base import VisionTask
from visiontasks.tasks.classification import ClassificationTask
from visiontasks.tasks.localization import LocalizationTask
from visiontasks.tasks.segmentation import SegmentationTask

__all__ = ["ClassificationTask", "LocalizationTask", "SegmentationTask", "VisionTask"]
