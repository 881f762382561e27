"""Backbones and heads. Importing this package registers the classic networks with timm."""

import visiontasks.models.classic  # noqa: F401 - registers its networks with timm
from visiontasks.models.backbone import Backbone
from visiontasks.models.heads import (
    BoxHead,
    FCNHead,
    Head,
    LabelHead,
    LabelsHead,
    MaskHead,
    SMPHead,
    UNetHead,
    ValueHead,
)

__all__ = [
    "Backbone",
    "BoxHead",
    "FCNHead",
    "Head",
    "LabelHead",
    "LabelsHead",
    "MaskHead",
    "SMPHead",
    "UNetHead",
    "ValueHead",
]
