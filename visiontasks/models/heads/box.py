"""Where: one box."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection

from visiontasks.core.errors import InputError
from visiontasks.losses import BoxGIoUL1, Loss
from visiontasks.models.heads.base import Head, Stage
from visiontasks.models.ridge import fit_ridge
from visiontasks.targets.metrics import box_iou, box_metrics


class BoxHead(Head):
    """A convolution, a grid of features, a linear layer, one box: what is where stays apart until the last layer.

    The four outputs are the logits of the box's centre and size, so it is a box whatever they are.

    Args:
        channels: Channels of each feature map.
        num_classes: Not used: one box for all classes.
        grid: Rows and columns of the grid that the final map is averaged to; 1 is global average pooling.
        hidden: Channels of a 3x3 convolution with ReLU before the grid; 0 leaves it out, as a closed form wants it.
        dropout: Probability of dropping a channel of the grid, 0..1.
        loss: Box against box.
    """

    key, monitor = "bbox", "iou"

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        grid: int = 7,
        hidden: int = 128,
        dropout: float = 0.0,
        loss: Loss = BoxGIoUL1(),
    ) -> None:
        super().__init__()
        self.check_loss(loss, "boxes")
        self.grid, self.criterion = grid, deepcopy(loss)
        self.hidden = nn.Sequential()
        if hidden:
            self.hidden = nn.Sequential(nn.Conv2d(channels[-1], hidden, 3, padding=1), nn.ReLU())
        self.dropout = nn.Dropout2d(dropout)
        self.regressor = nn.Linear((hidden or channels[-1]) * grid**2, 4)
        self.trivial: Tensor
        self.register_buffer("trivial", torch.tensor([0.25, 0.25, 0.75, 0.75]))

    def setup(self, summary: dict[str, Any]) -> None:
        if "boxes" not in summary:
            raise InputError("BoxHead: the training set has no boxes (`bbox`). Use a dataset with boxes.")
        self.trivial.copy_(best_box(summary["boxes"]))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Returns logits of centre x, centre y, width and height, float (B, 4)."""
        return self.regressor(self._bridge(features))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.criterion(decode(output), target)

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """Returns `bbox`, float (B, 4), xyxy in 0..1 of the network's image."""
        return {"bbox": self.scores(output)}

    def metrics(self, stage: Stage) -> MetricCollection:
        return box_metrics(stage)

    def quality(self, output: Tensor, target: Tensor) -> Tensor:
        """The IoU."""
        return box_iou(self.scores(output), target)

    def no_target(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 4), torch.nan, device=images.device)

    def scores(self, output: Tensor) -> Tensor:
        return decode(output).clamp(0, 1)

    def floor(self, target: Tensor) -> Tensor:
        """The mean or the median training box, whichever the training boxes overlap more."""
        return self.trivial.expand(len(target), -1)

    def design(self, features: list[Tensor]) -> Tensor:
        return super().design(features) if len(self.hidden) else self._bridge(features)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Ridge regression on the logits of the boxes, clipped to 0.01..0.99."""
        known = target.isfinite().all(1)
        ridge = fit_ridge(design[known], encode(target[known]), index[known])
        with torch.no_grad():
            self.regressor.weight.copy_(ridge.weight)
            self.regressor.bias.copy_(ridge.bias)
        iou = self.metrics("train")["iou"]
        iou.update(decode(ridge.left_out), target[known])
        return {"strength": ridge.strength, "left_out_iou": float(iou.compute())}

    def _bridge(self, features: list[Tensor]) -> Tensor:
        grid = self.dropout(F.adaptive_avg_pool2d(self.hidden(features[-1]), self.grid))
        # a mean over the places: one step of Adam then moves the box no further than with a pooled vector
        return grid.flatten(1) / self.grid**2


def best_box(boxes: Tensor) -> Tensor:
    """The mean or the median of boxes xyxy, float (N, 4), whichever they overlap more: float (4,)."""
    return max(
        [boxes.mean(0), boxes.median(0).values], key=lambda box: float(box_iou(box.expand_as(boxes), boxes).mean())
    )


def decode(logits: Tensor) -> Tensor:
    """Logits of centre and size, float (B, 4), to boxes xyxy, which may reach beyond 0..1."""
    centre, size = logits.float().sigmoid().chunk(2, -1)
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def encode(boxes: Tensor) -> Tensor:
    """Boxes xyxy, float (..., 4), to the logits of centre and size, each within 0.01..0.99."""
    low, high = boxes.chunk(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1).logit(0.01)
