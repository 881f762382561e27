"""Backbones and heads. Importing this package registers the classic networks with timm."""

import visiontasks.models.classic  # noqa: F401 - registers its networks with timm
from visiontasks.models.backbone import Backbone
from visiontasks.models.heads import *  # noqa: F403
from visiontasks.models.heads import __all__ as _heads

__all__ = ["Backbone", *_heads]
