"""Names that changed: what older checkpoints and configs say, and what it is called now."""

import sys
from functools import cache
from typing import Any

# old module, room that exports its classes today, the classes
_MODULES = (
    ("visiontasks.callbacks.artifact", "callbacks", "BestCheckpointArtifact"),
    ("visiontasks.callbacks.closed_form", "callbacks", "ClosedFormStart"),
    ("visiontasks.callbacks.curves", "callbacks", "Curves"),
    ("visiontasks.callbacks.freeze", "callbacks", "FreezeBackbone"),
    ("visiontasks.callbacks.mix", "callbacks", "Mix"),
    ("visiontasks.callbacks.panels", "callbacks", "Panels"),
    ("visiontasks.callbacks.results", "callbacks", "Results"),
    ("visiontasks.data.datamodule", "data", "VisionDataModule"),
    ("visiontasks.data.datasets", "data", "CIFAR10 CocoBoxes CocoMasks CsvTable FashionMNIST ImageFolder MNIST"),
    ("visiontasks.data.datasets", "data", "MaskFolder OxfordIIITPet Scenes Shapes VOCSegmentation VocBoxes Windows"),
    ("visiontasks.data.datasets.coco", "data", "CocoBoxes"),
    ("visiontasks.data.datasets.coco_masks", "data", "CocoMasks"),
    ("visiontasks.data.datasets.folder", "data", "ImageFolder"),
    ("visiontasks.data.datasets.masks", "data", "MaskFolder"),
    ("visiontasks.data.datasets.shapes", "data", "Scenes Shapes"),
    ("visiontasks.data.datasets.table", "data", "CsvTable"),
    ("visiontasks.data.datasets.torchvision_sets", "data", "CIFAR10 FashionMNIST MNIST OxfordIIITPet"),
    ("visiontasks.data.datasets.voc", "data", "VocBoxes"),
    ("visiontasks.data.datasets.voc_segmentation", "data", "VOCSegmentation"),
    ("visiontasks.data.datasets.windows", "data", "Windows"),
    ("visiontasks.data.splits", "data", "Splits"),
    ("visiontasks.loggers", "callbacks.wandb", "WandbLogger"),
    ("visiontasks.losses.boxes", "losses", "BoxCIoU BoxDIoU BoxGIoU BoxIoU BoxMSE BoxSmoothL1"),
    ("visiontasks.losses.cross_entropy", "losses", "CrossEntropy"),
    ("visiontasks.losses.focal", "losses", "Focal"),
    ("visiontasks.losses.lovasz", "losses", "Lovasz"),
    ("visiontasks.losses.mse", "losses", "ProbabilityMSE"),
    ("visiontasks.losses.overlap", "losses", "Dice Jaccard Tversky"),
    ("visiontasks.losses.weighted_sum", "losses", "BoxGIoUL1 WeightedSum"),
    ("visiontasks.models.backbone", "models", "Backbone"),
    ("visiontasks.models.heads", "models", "BoxHead FCNHead LabelHead SMPHead UNetHead"),
    ("visiontasks.models.heads.box", "models", "BoxHead"),
    ("visiontasks.models.heads.fcn", "models", "FCNHead"),
    ("visiontasks.models.heads.label", "models", "LabelHead"),
    ("visiontasks.models.heads.smp", "models", "SMPHead"),
    ("visiontasks.models.heads.unet", "models", "UNetHead"),
    ("visiontasks.schedules", "tasks", "Constant Cosine Exponential InverseTime Step"),
    ("visiontasks.tasks.base", "tasks", "VisionTask"),
    ("visiontasks.tasks.classification", "tasks", "ClassificationTask"),
    ("visiontasks.tasks.localization", "tasks", "LocalizationTask"),
    ("visiontasks.tasks.optimizer", "tasks", "DefaultAdamW"),
    ("visiontasks.tasks.segmentation", "tasks", "SegmentationTask"),
)
# old path of a class: its public path
MOVED = {
    f"{module}.{name}": f"visiontasks.{room}.{name}" for module, room, names in _MODULES for name in names.split()
} | {"visiontasks.callbacks.rates.LRFinder": "visiontasks.callbacks.rates.LRFinder"}
OPTIONS = {"colours": "colors"}  # old option: its name


def current(value: Any) -> Any:
    """Replaces the old names in the content of a config by those of today."""
    if isinstance(value, list):
        return [current(item) for item in value]
    if isinstance(value, dict):
        for key in value.keys() & OPTIONS.keys():
            _tell(key)
        return {OPTIONS.get(key, key): current(item) for key, item in value.items()}
    return MOVED.get(value, value) if isinstance(value, str) else value


def current_option(argument: str) -> str:
    """The argument `--some.option` or `--some.option=value` in its spelling of today: underscores, and its new name."""
    if not argument.startswith("--"):
        return argument
    option, *value = argument.split("=", 1)
    *sections, name = option[2:].replace("-", "_").split(".")
    if name in OPTIONS:
        _tell(name)
    return "=".join([f"--{'.'.join([*sections, OPTIONS.get(name, name)])}", *value])


@cache
def _tell(option: str) -> None:
    print(f"note: `{option}` is called `{OPTIONS[option]}` now.", file=sys.stderr)
