"""A task is a backbone with heads."""

from visiontasks.tasks.base import VisionTask
from visiontasks.tasks.classification import ClassificationTask

__all__ = ["ClassificationTask", "VisionTask"]
