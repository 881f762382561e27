"""One file a source of images."""

from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.files import Images
from visiontasks.data.datasets.folder import ImageFolder
from visiontasks.data.datasets.shapes import Shapes
from visiontasks.data.datasets.table import CsvTable
from visiontasks.data.datasets.torchvision_sets import CIFAR10, MNIST, FashionMNIST, OxfordIIITPet

__all__ = [
    "CIFAR10",
    "MNIST",
    "CsvTable",
    "FashionMNIST",
    "ImageFolder",
    "Images",
    "OxfordIIITPet",
    "Shapes",
    "VisionDataset",
]
