"""Each head answers one key of a sample."""

from visiontasks.models.heads.base import Head
from visiontasks.models.heads.box import BoxHead
from visiontasks.models.heads.label import LabelHead

__all__ = ["BoxHead", "Head", "LabelHead"]
