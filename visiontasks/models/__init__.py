"""Backbone and heads."""

from visiontasks.models.backbone import Backbone
from visiontasks.models.heads import Head, LabelHead

__all__ = ["Backbone", "Head", "LabelHead"]
