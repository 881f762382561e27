"""Backbone and heads."""

from visiontasks.models.backbone import Backbone
from visiontasks.models.heads import BoxHead, FCNHead, Head, LabelHead, MaskHead, SMPHead, UNetHead

__all__ = ["Backbone", "BoxHead", "FCNHead", "Head", "LabelHead", "MaskHead", "SMPHead", "UNetHead"]
