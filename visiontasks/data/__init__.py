"""From files to batches."""

from visiontasks.data.datamodule import VisionDataModule
from visiontasks.data.datasets import (
    CIFAR10,
    MNIST,
    CocoBoxes,
    CsvTable,
    FashionMNIST,
    ImageFolder,
    Images,
    OxfordIIITPet,
    Shapes,
    VisionDataset,
    VocBoxes,
)
from visiontasks.data.splits import Splits

__all__ = [
    "CIFAR10",
    "MNIST",
    "CocoBoxes",
    "CsvTable",
    "FashionMNIST",
    "ImageFolder",
    "Images",
    "OxfordIIITPet",
    "Shapes",
    "Splits",
    "VisionDataModule",
    "VisionDataset",
    "VocBoxes",
]
