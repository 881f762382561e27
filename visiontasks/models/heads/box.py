"""Localization head: one box per image."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.losses import BoxGIoUL1, Loss, box_iou
from visiontasks.losses.base import weighted_mean
from visiontasks.models.heads.base import Head
from visiontasks.models.heads.labels import fit_platt
from visiontasks.models.ridge import fit_ridge
from visiontasks.targets.bbox import BOXES, CHOICES, best_presence


class BoxHead(Head):
    """A convolution, average pooling to a grid, and a linear layer that predicts one box; the grid keeps positions.

    The four outputs are the logits of the center and size of the box, so any outputs give a valid box. With `absent` a
    fifth one is the logit that there is an object. The threshold of its probability is the one with the most right
    decisions, stored in the checkpoint: on the validation set at the end of each validation of a fit, or, from the
    closed form, on the training images by leave-one-out.

    Args:
        num_classes: Not used, because there is one box for all classes.
        grid: Rows and columns of the grid to which the final map is averaged; 1 is global average pooling.
        hidden: Channels of a 3x3 convolution with ReLU before the grid; 0 removes it, as the closed form requires.
        dropout: Probability of dropping a channel of the grid, 0..1.
        loss: Loss of boxes.
        absent: Predict too whether there is an object, for a dataset with `absent: true`; the loss is the sum of the
            loss of the boxes and the binary cross-entropy.
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
        absent: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.criterion, self.absent = grid, self.check_loss(loss, "boxes"), absent
        layers = [nn.Conv2d(channels[-1], hidden, 3, padding=1), nn.ReLU()] if hidden else []
        self.hidden = nn.Sequential(*layers)
        self.dropout = nn.Dropout2d(dropout)
        self.regressor = nn.Linear((hidden or channels[-1]) * grid**2, 4)
        self.trivial = nn.Buffer(torch.tensor([0.25, 0.25, 0.75, 0.75] + [0.5, 0.5] * absent))
        if absent:
            self.presence = nn.Linear(self.regressor.in_features, 1)
            self.threshold = nn.Buffer(torch.tensor(0.5))

    def setup(self, summary: dict[str, Any]) -> None:
        baseline = torch.from_numpy(self.target.baseline(summary))
        if len(baseline) != len(self.trivial):
            found = "no training image is" if self.absent else "training images are"
            advice = "Remove it" if self.absent else "Set it to true"
            raise InputError(f"BoxHead.absent: {self.absent}, and {found} known to have no object. {advice}.")
        self.trivial.copy_(baseline)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes logits of center x, center y, width and height, float (B, 4), or (B, 5) with that of presence."""
        grid = self._grid(features)
        boxes = self.regressor(grid)
        return torch.cat([boxes, self.presence(grid)], 1) if self.absent else boxes

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        known, present = _known(target)
        loss = self.criterion(decode(output[:, :4]), target.masked_fill(~present[:, None], torch.nan))
        if not self.absent:
            return loss
        presence = F.binary_cross_entropy_with_logits(output[:, 4].float(), present.float(), reduction="none")
        return loss + weighted_mean(presence, known.float())

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes boxes, float (B, 4), xyxy in 0..1 relative to the picture; or (B, 6) with the probability that there
        is an object and its threshold."""
        boxes = decode(output[:, :4]).clamp(0, 1)
        if not self.absent:
            return boxes
        presence = output[:, 4:].float().sigmoid()
        return torch.cat([boxes, presence, self.threshold.float().expand_as(presence)], 1)

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        known = _known(target)[1]
        iou = box_iou(self.postprocess(output)[:, :4], target)
        iou = torch.where(known, iou, 0.0)
        rows = [known.float(), iou, (iou > 0.5).float(), (iou > 0.75).float()]
        return F.pad(torch.stack(rows).sum(1, keepdim=True), (0, 0, 0, 3))  # the other rows of the kind are for a test

    def calibrate(self, counts: np.ndarray) -> np.ndarray:
        """Chooses the threshold of presence; without a known image it stays as it is."""
        known, _, *right = counts[:, BOXES:].sum((0, 2)) if self.absent else (0, 0)
        if not known:
            return counts
        best = best_presence(np.array(right))
        self.threshold.fill_(float(CHOICES[best]))
        counts = counts.copy()
        counts[:, BOXES + 1] = counts[:, BOXES + 2 + best]
        return counts

    def baseline(self) -> Tensor:
        return self.trivial

    def column(self, output: Tensor) -> None:
        return None

    def design(self, features: list[Tensor]) -> Tensor:
        return super().design(features) if len(self.hidden) else self._grid(features)

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Solves ridge regression on the logits of the boxes, clipped to 0.01..0.99."""
        known, present = _known(target)
        scores = self._solve_presence(design[known], present[known], index[known]) if self.absent else {}
        ridge = fit_ridge(design[present], encode(target[present]), index[present])
        ridge.copy_to(self.regressor)
        iou = box_iou(decode(ridge.left_out), target[present]).mean()
        return {"strength": ridge.strength, "left_out_iou": float(iou), **scores}

    def _solve_presence(self, design: Tensor, present: Tensor, index: Tensor) -> dict[str, float]:
        """Solves ridge regression on 0 and 1, and scales its outputs to logits by Platt's method."""
        ridge = fit_ridge(design, present[:, None].to(design.dtype), index)
        slope, shift = fit_platt(ridge.left_out[:, 0], present)
        with torch.no_grad():
            self.presence.weight.copy_(slope * ridge.weight)
            self.presence.bias.copy_(slope * ridge.bias + shift)
        probabilities = (slope * ridge.left_out + shift).sigmoid().float().numpy()
        right = ((probabilities >= CHOICES) == present[:, None].numpy()).mean(0)
        self.threshold.fill_(float(CHOICES[best_presence(right)]))
        return {"left_out_presence": float(right.max())}

    def _grid(self, features: list[Tensor]) -> Tensor:
        grid = self.dropout(F.adaptive_avg_pool2d(self.hidden(features[-1]), self.grid))
        # dividing by the number of cells keeps a step of Adam as small as with one pooled vector
        return grid.flatten(1) / self.grid**2


def _known(target: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two masks of the images: those that are annotated, and those with an object, bool (B,)."""
    known = target.isfinite().all(1)
    return known, known & target.any(1)


def decode(logits: Tensor) -> Tensor:
    """Converts logits of center and size, float (B, 4), to xyxy boxes, which may exceed 0..1."""
    center, size = logits.float().sigmoid().chunk(2, -1)
    return torch.cat([center - size / 2, center + size / 2], -1)


def encode(boxes: Tensor) -> Tensor:
    """Converts xyxy boxes, float (..., 4), to logits of center and size, each clipped to 0.01..0.99."""
    low, high = boxes.chunk(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1).logit(0.01)
