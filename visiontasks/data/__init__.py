"""Datasets, and the DataModule that makes batches of them."""

from visiontasks.data.datamodule import VisionDataModule
from visiontasks.data.datasets import *  # noqa: F403
from visiontasks.data.datasets import __all__ as _dataset_names
from visiontasks.data.splits import Splits

__all__ = ["Splits", "VisionDataModule", *_dataset_names]
