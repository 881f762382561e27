"""Backbone and heads."""

from visiontasks.models.backbone import Backbone
from visiontasks.models.heads import BoxHead, Head, LabelHead

__all__ = ["Backbone", "BoxHead", "Head", "LabelHead"]
