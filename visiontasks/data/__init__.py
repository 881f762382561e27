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
    Images,
    MaskFolder,
    OxfordIIITPet,
    Shapes,
    VisionDataset,
    VocBoxes,
    VOCSegmentation,
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
    "Images",
    "MaskFolder",
    "OxfordIIITPet",
    "Shapes",
    "Splits",
    "VOCSegmentation",
    "VisionDataModule",
    "VisionDataset",
    "VocBoxes",
]
