"""Losses that torch, torchvision and SMP lack or get wrong."""

from visiontasks.losses.assignment import ATSS, Assignment, TaskAligned
from visiontasks.losses.base import Loss
from visiontasks.losses.binary import Asymmetric, BinaryCrossEntropy, BinaryFocal
from visiontasks.losses.boxes import BoxCIoU, BoxDIoU, BoxGIoU, BoxGIoUL1, BoxIoU, BoxLoss, BoxMSE, BoxSmoothL1, box_iou
from visiontasks.losses.detection import DetectionLoss
from visiontasks.losses.overlap import Dice, Jaccard, Lovasz, Tversky
from visiontasks.losses.pointwise import CrossEntropy, Focal, ProbabilityMSE
from visiontasks.losses.regression import MSE, SmoothL1, ValueLoss
from visiontasks.losses.weighted_sum import WeightedSum

__all__ = [
    "ATSS", "MSE", "Assignment", "Asymmetric", "BinaryCrossEntropy", "BinaryFocal", "BoxCIoU", "BoxDIoU", "BoxGIoU",
    "BoxGIoUL1", "BoxIoU", "BoxLoss", "BoxMSE", "BoxSmoothL1", "CrossEntropy", "DetectionLoss", "Dice", "Focal",
    "Jaccard", "Loss", "Lovasz", "ProbabilityMSE", "SmoothL1", "TaskAligned", "Tversky", "ValueLoss",
    "WeightedSum", "box_iou",
]  # fmt: skip
