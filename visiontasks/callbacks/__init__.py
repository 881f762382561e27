"""Callbacks of the training loop."""

from visiontasks.callbacks.checkpoints import Checkpoints
from visiontasks.callbacks.closed_form import ClosedFormStart
from visiontasks.callbacks.curves import Curves
from visiontasks.callbacks.finite import FiniteCheck
from visiontasks.callbacks.freeze import FreezeBackbone
from visiontasks.callbacks.mix import Mix
from visiontasks.callbacks.panels import Panels
from visiontasks.callbacks.results import Results
from visiontasks.callbacks.wandb import BestCheckpointArtifact

__all__ = [
    "BestCheckpointArtifact",
    "Checkpoints",
    "ClosedFormStart",
    "Curves",
    "FiniteCheck",
    "FreezeBackbone",
    "Mix",
    "Panels",
    "Results",
]
