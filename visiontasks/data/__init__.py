"""From files to batches."""

from visiontasks.data.datamodule import VisionDataModule
from visiontasks.data.datasets import (
    CIFAR10,
    MNIST,
    CocoBoxes,
    CocoMasks,
    CsvTable,
    FashionMNIST,
    ImageFolder,
    MaskFolder,
    OxfordIIITPet,
    Scenes,
    Shapes,
    VisionDataset,
    VocBoxes,
    VOCSegmentation,
    Windows,
)
from visiontasks.data.splits import Splits

__all__ = [
    "CIFAR10",
    "MNIST",
    "CocoBoxes",
    "CocoMasks",
    "CsvTable",
    "FashionMNIST",
    "ImageFolder",
    "MaskFolder",
    "OxfordIIITPet",
    "Scenes",
    "Shapes",
    "Splits",
    "VOCSegmentation",
    "VisionDataModule",
    "VisionDataset",
    "VocBoxes",
    "Windows",
]
