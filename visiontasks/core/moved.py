"""Renamed classes and options: the names in older checkpoints and configs, and those of today."""

import sys
from functools import cache
from typing import Any

# package that exports the classes today: the old paths of the classes below `visiontasks`
_OLD_PATHS = {
    "callbacks": "callbacks.artifact.BestCheckpointArtifact callbacks.closed_form.ClosedFormStart "
    "callbacks.curves.Curves callbacks.freeze.FreezeBackbone callbacks.mix.Mix callbacks.panels.Panels "
    "callbacks.results.Results",
    "callbacks.rates": "callbacks.rates.LRFinder",
    "callbacks.wandb": "loggers.WandbLogger",
    "data": "data.datamodule.VisionDataModule data.datasets.CIFAR10 data.datasets.CocoBoxes data.datasets.CocoMasks "
    "data.datasets.CsvTable data.datasets.FashionMNIST data.datasets.ImageFolder data.datasets.MNIST "
    "data.datasets.MaskFolder data.datasets.OxfordIIITPet data.datasets.Scenes data.datasets.Shapes "
    "data.datasets.VOCSegmentation data.datasets.VocBoxes data.datasets.Windows data.datasets.coco.CocoBoxes "
    "data.datasets.coco_masks.CocoMasks data.datasets.folder.ImageFolder data.datasets.masks.MaskFolder "
    "data.datasets.shapes.Scenes data.datasets.shapes.Shapes data.datasets.table.CsvTable "
    "data.datasets.torchvision_sets.CIFAR10 data.datasets.torchvision_sets.FashionMNIST "
    "data.datasets.torchvision_sets.MNIST data.datasets.torchvision_sets.OxfordIIITPet data.datasets.voc.VocBoxes "
    "data.datasets.voc_segmentation.VOCSegmentation data.datasets.windows.Windows data.splits.Splits",
    "losses": "losses.boxes.BoxCIoU losses.boxes.BoxDIoU losses.boxes.BoxGIoU losses.boxes.BoxIoU losses.boxes.BoxMSE "
    "losses.boxes.BoxSmoothL1 losses.cross_entropy.CrossEntropy losses.focal.Focal losses.lovasz.Lovasz "
    "losses.mse.ProbabilityMSE losses.overlap.Dice losses.overlap.Jaccard losses.overlap.Tversky "
    "losses.weighted_sum.BoxGIoUL1 losses.weighted_sum.WeightedSum",
    "models": "models.backbone.Backbone models.heads.BoxHead models.heads.FCNHead models.heads.LabelHead "
    "models.heads.SMPHead models.heads.UNetHead models.heads.box.BoxHead models.heads.fcn.FCNHead "
    "models.heads.label.LabelHead models.heads.smp.SMPHead models.heads.unet.UNetHead",
    "tasks": "schedules.Constant schedules.Cosine schedules.Exponential schedules.InverseTime schedules.Step "
    "tasks.base.VisionTask tasks.classification.ClassificationTask tasks.localization.LocalizationTask "
    "tasks.optimizer.DefaultAdamW tasks.segmentation.SegmentationTask",
}
MOVED = {  # old path of a class: its public path
    f"visiontasks.{path}": f"visiontasks.{package}.{path.rpartition('.')[2]}"
    for package, paths in _OLD_PATHS.items()
    for path in paths.split()
}
OPTIONS = {"colours": "colors"}  # old option: its name


def current(value: Any) -> Any:
    """Replaces the old names in the content of a config by those of today."""
    if isinstance(value, list):
        return [current(item) for item in value]
    if isinstance(value, dict):
        for key in value.keys() & OPTIONS.keys():
            _print_note(key)
        return {OPTIONS.get(key, key): current(item) for key, item in value.items()}
    return MOVED.get(value, value) if isinstance(value, str) else value


def current_option(argument: str) -> str:
    """Returns the argument `--some.option` or `--some.option=value` with underscores and the option's new name."""
    if not argument.startswith("--"):
        return argument
    option, *value = argument.split("=", 1)
    *sections, name = option[2:].replace("-", "_").split(".")
    if name in OPTIONS:
        _print_note(name)
    return "=".join([f"--{'.'.join([*sections, OPTIONS.get(name, name)])}", *value])


@cache
def _print_note(option: str) -> None:
    print(f"note: `{option}` is called `{OPTIONS[option]}` now.", file=sys.stderr)
