"""Heads: each one predicts one key of a sample."""

from visiontasks.models.heads.base import Head
from visiontasks.models.heads.box import BoxHead
from visiontasks.models.heads.detection import DetectionHead
from visiontasks.models.heads.fcn import FCNHead
from visiontasks.models.heads.instances import InstanceHead
from visiontasks.models.heads.label import LabelHead
from visiontasks.models.heads.labels import LabelsHead
from visiontasks.models.heads.mask import MaskHead
from visiontasks.models.heads.smp import SMPHead
from visiontasks.models.heads.unet import UNetHead
from visiontasks.models.heads.value import ValueHead

__all__ = [
    "BoxHead", "DetectionHead", "FCNHead", "Head", "InstanceHead", "LabelHead", "LabelsHead", "MaskHead", "SMPHead",
    "UNetHead", "ValueHead",
]  # fmt: skip
