"""U-Net's expanding path."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses import CrossEntropy, Loss
from visiontasks.models.classic.unet import double_conv, init_he
from visiontasks.models.heads.mask import MaskHead, levels


class UNetHead(MaskHead):
    """The expanding path of U-Net: up-convolution, the map of that stride beside it, two 3x3 convolutions.

    Ronneberger, Fischer and Brox 2015, section 2, with padded convolutions. On the backbone `unet2015` it is the
    published network; on any other it uses what maps there are.

    Args:
        channels: Channels of each feature map.
        num_classes: Number of classes.
        width: Channels at stride 1; twice as many at every coarser one.
        batch_norm: Put batch norm behind each 3x3 convolution, which the paper did not have yet.
        dropout: Probability of dropping a channel of the deepest map, 0..1.
        loss: Logits against masks.

    Raises:
        InputError: The backbone's maps are all of one stride.
    """

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        width: int = 64,
        batch_norm: bool = False,
        dropout: float = 0.5,
        loss: Loss = CrossEntropy(),
    ) -> None:
        super().__init__(num_classes, loss)
        *others, self.deepest = levels(channels)
        if not others:
            raise InputError("UNetHead: the backbone has maps of one stride only. Take a network with a pyramid.")
        self.dropout = nn.Dropout2d(dropout)
        self.up, self.blocks = nn.ModuleList(), nn.ModuleList()
        below = channels[self.deepest]
        for level in range(self.deepest - 1, -1, -1):
            out = width * 2**level
            self.up.append(nn.ConvTranspose2d(below, out, 2, stride=2))
            self.blocks.append(double_conv(out + channels[level], out, batch_norm))
            below = out
        self.classifier = nn.Conv2d(below, num_classes, 1)
        init_he(self)

    def decode(self, features: list[Tensor]) -> Tensor:
        below = self.dropout(features[self.deepest])
        for level, up, block in zip(range(self.deepest - 1, -1, -1), self.up, self.blocks, strict=True):
            below = block(torch.cat([features[level], up(below)], 1))
        return self.classifier(below)
