"""What torch, torchvision and SMP lack or get wrong."""

from visiontasks.losses.base import Loss
from visiontasks.losses.boxes import BoxCIoU, BoxDIoU, BoxGIoU, BoxIoU, BoxLoss, BoxMSE, BoxSmoothL1
from visiontasks.losses.cross_entropy import CrossEntropy
from visiontasks.losses.focal import Focal
from visiontasks.losses.lovasz import Lovasz
from visiontasks.losses.mse import ProbabilityMSE
from visiontasks.losses.overlap import Dice, Jaccard, Tversky
from visiontasks.losses.weighted_sum import BoxGIoUL1, WeightedSum

__all__ = [
    "BoxCIoU",
    "BoxDIoU",
    "BoxGIoU",
    "BoxGIoUL1",
    "BoxIoU",
    "BoxLoss",
    "BoxMSE",
    "BoxSmoothL1",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Jaccard",
    "Loss",
    "Lovasz",
    "ProbabilityMSE",
    "Tversky",
    "WeightedSum",
]
