"""What torch, torchvision and SMP lack or get wrong."""

from visiontasks.losses.base import Loss
from visiontasks.losses.cross_entropy import CrossEntropy
from visiontasks.losses.focal import Focal
from visiontasks.losses.mse import ProbabilityMSE

__all__ = ["CrossEntropy", "Focal", "Loss", "ProbabilityMSE"]
