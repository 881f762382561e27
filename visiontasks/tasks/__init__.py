"""A task is a backbone with heads."""

from visiontasks.tasks.base import VisionTask
from visiontasks.tasks.classification import ClassificationTask
from visiontasks.tasks.localization import LocalizationTask

__all__ = ["ClassificationTask", "LocalizationTask", "VisionTask"]
