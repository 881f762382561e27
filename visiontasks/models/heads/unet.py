"""Expanding path of U-Net."""

import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses import CrossEntropy, Loss
from visiontasks.models.classic.unet import double_conv, init_he
from visiontasks.models.heads.mask import MaskHead, levels


class UNetHead(MaskHead):
    """Expanding path of U-Net: an up-convolution, the map of that stride concatenated, and two 3x3 convolutions.

    Ronneberger, Fischer and Brox 2015, section 2, with padded convolutions. On the backbone `unet2015` it is the
    published network; on any other backbone it uses the available maps.

    Args:
        width: Channels at stride 1; each coarser level has twice as many.
        batch_norm: Add batch norm after each 3x3 convolution; the paper has none.
        dropout: Probability of dropping a channel of the deepest map, 0..1.
        loss: Loss of classes.

    Raises:
        InputError: All maps of the backbone have one stride.
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
