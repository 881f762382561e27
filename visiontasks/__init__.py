"""Fine-tune pretrained backbones on your own images: classification, localization, segmentation."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visiontasks.predict import Predictor

__version__ = metadata.version("visiontasks")


def load(path: str) -> Predictor:
    """Opens a trained checkpoint for prediction; see `visiontasks.predict.Predictor`."""
    from visiontasks.predict import Predictor  # torch takes seconds to import: only when asked for

    return Predictor.from_checkpoint(path)
