"""Datasets, one file per source of images; configs know the classes of every file here by name."""

from importlib import import_module
from pkgutil import iter_modules

from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.coco import CocoBoxes
from visiontasks.data.datasets.coco_masks import CocoMasks
from visiontasks.data.datasets.cvat import CvatImages
from visiontasks.data.datasets.folder import ImageFolder
from visiontasks.data.datasets.instances import InstanceFolder
from visiontasks.data.datasets.labelme import LabelMe
from visiontasks.data.datasets.masks import MaskFolder
from visiontasks.data.datasets.named import NamedFiles
from visiontasks.data.datasets.object_file import ObjectFile
from visiontasks.data.datasets.shapes import Scenes, Shapes
from visiontasks.data.datasets.table import CsvTable
from visiontasks.data.datasets.torchvision_sets import CIFAR10, MNIST, FashionMNIST, OxfordIIITPet, VOCSegmentation
from visiontasks.data.datasets.voc import VocBoxes
from visiontasks.data.datasets.windows import Windows
from visiontasks.data.datasets.yolo import YoloBoxes

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "CIFAR10", "MNIST", "CocoBoxes", "CocoMasks", "CsvTable", "CvatImages", "FashionMNIST", "ImageFolder",
    "InstanceFolder", "LabelMe", "MaskFolder", "NamedFiles", "ObjectFile", "OxfordIIITPet", "Scenes", "Shapes",
    "VOCSegmentation", "VisionDataset", "VocBoxes", "Windows", "YoloBoxes",
]  # fmt: skip
