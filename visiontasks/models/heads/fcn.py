"""Fully convolutional networks."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses import CrossEntropy, Loss
from visiontasks.models.backbone import STRIDES
from visiontasks.models.heads.mask import MaskHead, levels


class FCNHead(MaskHead):
    """FCN-32s, 16s or 8s: class scores of the final map, upsampled and added to those of finer maps.

    Long, Shelhamer and Darrell 2015, section 4.2: a 1x1 convolution scores each map. A learned transposed convolution,
    which starts as bilinear interpolation, upsamples the sum to the next finer map; fixed bilinear interpolation
    upsamples the last sum to the pixels. The scores of finer maps start at zero. The final map of the backbone replaces
    the convolutionalized fully connected layers of the paper.

    Args:
        stride: Stride of the finest map that is used: 32, 16 or 8.
        dropout: Probability of dropping a channel of the final map, 0..1.
        loss: Loss of classes.

    Raises:
        InputError: The backbone has no map of one of the strides.
    """

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        stride: Literal[32, 16, 8] = 8,
        dropout: float = 0.5,
        loss: Loss = CrossEntropy(),
    ) -> None:
        super().__init__(num_classes, loss)
        *pyramid, final = channels
        known = dict(zip(STRIDES, pyramid, strict=True))
        deepest = 2 ** levels(channels)[-1]
        self.finer = [s for s in STRIDES[::-1] if stride <= s < deepest]
        if missing := [s for s in self.finer if not known[s]]:
            raise InputError(f"FCNHead: the backbone has no map of stride {missing[0]}. Take a network with a pyramid.")
        self.dropout = nn.Dropout2d(dropout)
        self.score = nn.Conv2d(final, num_classes, 1)
        self.skips = nn.ModuleList(nn.Conv2d(known[s], num_classes, 1) for s in self.finer)
        for parameter in self.skips.parameters():
            nn.init.zeros_(parameter)
        steps = [coarse // fine for coarse, fine in pairwise([deepest, *self.finer])]
        self.up = nn.ModuleList(bilinear(num_classes, step) for step in steps)

    def decode(self, features: list[Tensor]) -> Tensor:
        scores = self.score(self.dropout(features[-1]))
        for stride, skip, up in zip(self.finer, self.skips, self.up, strict=True):
            scores = up(scores) + skip(features[STRIDES.index(stride)])
        return scores


def bilinear(channels: int, step: int) -> nn.ConvTranspose2d:
    """Makes a transposed convolution that upsamples by `step`, an even number, and starts as bilinear interpolation."""
    size = 2 * step
    up = nn.ConvTranspose2d(channels, channels, size, stride=step, padding=step // 2, bias=False)
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / step
    with torch.no_grad():
        up.weight.zero_()
        up.weight[range(channels), range(channels)] = ramp[:, None] * ramp
    return up
