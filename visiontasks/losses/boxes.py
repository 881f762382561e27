"""Losses of one box against another."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from visiontasks.losses.base import Loss, weighted_mean


class BoxLoss(Loss):
    """A loss of boxes, xyxy relative to the image.

    Shape:
        output, target float (B, 4); result ().
    """

    kind = "boxes"

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the mean over all targets that are known.

        Args:
            output: Boxes with xmin < xmax and ymin < ymax, float (B, 4).
            target: Float (B, 4); NaN where there is none.

        Returns:
            Float scalar; 0 with a zero gradient where no target is known.
        """
        known = target.isfinite().all(1)
        # a NaN times zero would be NaN again, in the gradient too
        safe = torch.where(known[:, None], target.float(), target.new_tensor([0.0, 0.0, 1.0, 1.0]).float())
        return weighted_mean(self.values(output.float(), safe), known.float())

    @abstractmethod
    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each pair, float (B,)."""


class BoxMSE(BoxLoss):
    """Mean squared error of the four coordinates."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target, reduction="none").mean(1)


class BoxSmoothL1(BoxLoss):
    """Mean smooth L1 of the four coordinates (Girshick 2015, eq. 3, over beta: |d| - beta / 2 beyond beta).

    Args:
        beta: Error below which it is quadratic, a share of the image.
    """

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        self.beta = beta

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(output, target, reduction="none", beta=self.beta).mean(1)


class BoxIoU(BoxLoss):
    """1 - intersection over union (Yu et al. 2016, there as its logarithm); no gradient where boxes do not meet."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        low, high = torch.maximum(output[:, :2], target[:, :2]), torch.minimum(output[:, 2:], target[:, 2:])
        inside = (high - low).clamp(min=0).prod(1)
        union = (output[:, 2:] - output[:, :2]).prod(1) + (target[:, 2:] - target[:, :2]).prod(1) - inside
        return 1 - inside / union.clamp(min=1e-7)


class BoxGIoU(BoxLoss):
    """1 - GIoU: boxes that do not meet are drawn together (Rezatofighi et al. 2019, algorithm 1)."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return generalized_box_iou_loss(output, target)


class BoxDIoU(BoxLoss):
    """1 - IoU plus the squared distance of the centres over the enclosing diagonal's (Zheng et al. 2020, eq. 7)."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return distance_box_iou_loss(output, target)


class BoxCIoU(BoxLoss):
    """DIoU and a term for the aspect (Zheng et al. 2020, eq. 10)."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        return complete_box_iou_loss(output, target)
