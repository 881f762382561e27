"""Localization head: one box per image."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.losses import BoxGIoUL1, Loss, box_iou
from visiontasks.models.heads.base import Head
from visiontasks.models.ridge import fit_ridge


class BoxHead(Head):
    """A convolution, average pooling to a grid, and a linear layer that predicts one box; the grid keeps positions.

    The four outputs are the logits of the center and size of the box, so any outputs give a valid box.

    Args:
        num_classes: Not used, because there is one box for all classes.
        grid: Rows and columns of the grid to which the final map is averaged; 1 is global average pooling.
        hidden: Channels of a 3x3 convolution with ReLU before the grid; 0 removes it, as the closed form requires.
        dropout: Probability of dropping a channel of the grid, 0..1.
        loss: Loss of boxes.
    """

    key = "bbox"

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
        self.grid, self.criterion = grid, self.check_loss(loss, "boxes")
        layers = [nn.Conv2d(channels[-1], hidden, 3, padding=1), nn.ReLU()] if hidden else []
        self.hidden = nn.Sequential(*layers)
        self.dropout = nn.Dropout2d(dropout)
        self.regressor = nn.Linear((hidden or channels[-1]) * grid**2, 4)
        self.trivial = nn.Buffer(torch.tensor([0.25, 0.25, 0.75, 0.75]))

    def setup(self, summary: dict[str, Any]) -> None:
        self.trivial.copy_(torch.from_numpy(self.target.baseline(summary)))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes logits of center x, center y, width and height, float (B, 4)."""
        return self.regressor(self._grid(features))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.criterion(decode(output), target)

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes boxes, float (B, 4), xyxy in 0..1 relative to the picture."""
        return decode(output).clamp(0, 1)

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        iou = box_iou(self.postprocess(output), target)
        known = iou.isfinite()
        iou = iou.nan_to_num(0.0)
        rows = [known.float(), iou, (iou > 0.5).float(), (iou > 0.75).float()]
        return F.pad(torch.stack(rows).sum(1, keepdim=True), (0, 0, 0, 3))  # the other rows of the kind are for a test

    def baseline(self) -> Tensor:
        return self.trivial

    def column(self, output: Tensor) -> None:
        return None

    def design(self, features: list[Tensor]) -> Tensor:
        return super().design(features) if len(self.hidden) else self._grid(features)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Solves ridge regression on the logits of the boxes, clipped to 0.01..0.99."""
        known = target.isfinite().all(1)
        ridge = fit_ridge(design[known], encode(target[known]), index[known])
        ridge.copy_to(self.regressor)
        iou = box_iou(decode(ridge.left_out), target[known]).mean()
        return {"strength": ridge.strength, "left_out_iou": float(iou)}

    def _grid(self, features: list[Tensor]) -> Tensor:
        grid = self.dropout(F.adaptive_avg_pool2d(self.hidden(features[-1]), self.grid))
        # dividing by the number of cells keeps a step of Adam as small as with one pooled vector
        return grid.flatten(1) / self.grid**2


def decode(logits: Tensor) -> Tensor:
    """Converts logits of center and size, float (B, 4), to xyxy boxes, which may exceed 0..1."""
    center, size = logits.float().sigmoid().chunk(2, -1)
    return torch.cat([center - size / 2, center + size / 2], -1)


def encode(boxes: Tensor) -> Tensor:
    """Converts xyxy boxes, float (..., 4), to logits of center and size, each clipped to 0.01..0.99."""
    low, high = boxes.chunk(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1).logit(0.01)
