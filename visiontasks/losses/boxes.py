"""Losses of boxes."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from visiontasks.losses.base import Loss, weighted_mean
from visiontasks.losses.weighted_sum import WeightedSum


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Computes the IoU of each pair of xyxy boxes, float (B, 4): (B,); 0 if neither box has an area, NaN for NaN."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    inside = (high - low).clamp(min=0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - inside
    return inside / union.clamp(min=torch.finfo(union.dtype).tiny)


class BoxLoss(Loss):
    """Base class of losses of xyxy boxes relative to the image.

    Shape:
        output float (B, 4), xmin < xmax and ymin < ymax; target float (B, 4), NaN if unknown; result ().
    """

    kind = "boxes"

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the mean over all known targets; 0 with a zero gradient if there are none."""
        known = target.isfinite().all(1)
        # a weight of 0 is not enough: NaN times 0 is NaN, in the gradient too
        safe = torch.where(known[:, None], target.float(), target.new_tensor([0.0, 0.0, 1.0, 1.0]).float())
        return weighted_mean(self.values(output.float(), safe), known.float())

    @abstractmethod
    def values(self, output: Tensor, target: Tensor, /) -> Tensor:
        """Computes the loss of each pair, float (B,)."""


class BoxMSE(BoxLoss):
    """Mean squared error of the four coordinates."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target, reduction="none").mean(1)


class BoxSmoothL1(BoxLoss):
    """Mean smooth L1 of the four coordinates (Girshick 2015, eq. 3, divided by beta: |d| - beta / 2 beyond beta).

    Args:
        beta: Error below which the loss is quadratic, as a share of the image.
    """

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        self.beta = beta

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(output, target, reduction="none", beta=self.beta).mean(1)


class BoxIoU(BoxLoss):
    """1 - IoU (Yu et al. 2016, who use its logarithm); boxes that do not overlap get no gradient."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return 1 - box_iou(output, target)


class BoxGIoU(BoxLoss):
    """1 - GIoU: it also pulls boxes together that do not overlap (Rezatofighi et al. 2019, algorithm 1)."""

    values = staticmethod(generalized_box_iou_loss)


class BoxDIoU(BoxLoss):
    """1 - IoU + squared distance of the centers / squared diagonal of the enclosing box (Zheng et al. 2020, eq. 7)."""

    values = staticmethod(distance_box_iou_loss)


class BoxCIoU(BoxLoss):
    """DIoU loss plus a term for the aspect ratio (Zheng et al. 2020, eq. 10)."""

    values = staticmethod(complete_box_iou_loss)


class BoxGIoUL1(WeightedSum):
    """GIoU plus smooth L1 of boxes: GIoU measures overlap, smooth L1 guides boxes that do not overlap yet.

    As the box loss of DETR (Carion et al. 2020, section 3.1), which uses plain L1.

    Shape:
        output, target float (B, 4); result ().

    Args:
        weight: Weight of the smooth L1; that of GIoU is 1.
        beta: See `BoxSmoothL1`.
    """

    def __init__(self, weight: float = 2.0, beta: float = 0.1) -> None:
        super().__init__([BoxGIoU(), BoxSmoothL1(beta)], [1.0, weight])
