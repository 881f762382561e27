"""LeNet-5."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from visiontasks.models.classic.plain import Stage, classic

# table I: from which of S2's six maps each of C3's sixteen is made
PARTS = [[(first + step) % 6 for step in range(count)] for count in (3, 4) for first in range(6)]
PARTS += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5]]


@classic(size=28, channels=1)
def lenet5(in_chans: int) -> list[Stage]:
    """LeNet-5 as it is mostly built today: every map of C3 sees all of S2, pooling without weights, a linear output.

    With ten classes of 28x28 pixels 61,706 weights. Of larger images the last maps are larger than 1x1.
    """
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 6, 5, padding=2), nn.Tanh()), 6),
        Stage(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh()), 16, 2),
        Stage(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(16, 120, 5), nn.Tanh()), 120, 2),
        Stage(nn.Sequential(nn.Conv2d(120, 84, 1), nn.Tanh()), 84),
    ]


@classic(size=28, channels=1)
def lenet5_1998(in_chans: int) -> list[Stage]:
    """LeNet-5 as published (LeCun et al. 1998, section II.B): C3 sees parts of S2, pooling with trained weights.

    Of gray images it has the published 60,000 weights; the output, the distances of its input to a vector for each
    class, is `LabelHead(distance=True)`.
    """
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 6, 5, padding=2), ScaledTanh()), 6),
        Stage(nn.Sequential(TrainedPool(6), ScaledTanh(), PartialConv2d(PARTS, 5), ScaledTanh()), 16, 2),
        Stage(nn.Sequential(TrainedPool(16), ScaledTanh(), nn.Conv2d(16, 120, 5), ScaledTanh()), 120, 2),
        Stage(nn.Sequential(nn.Conv2d(120, 84, 1), ScaledTanh()), 84),
    ]


class ScaledTanh(nn.Module):
    """1.7159 tanh(2/3 x): 1 and -1 stay what they are (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * x)


class TrainedPool(nn.Module):
    """The sum of 2x2 values of a map, times a coefficient of the map, plus a bias of the map: S2 and S4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return 4 * nn.functional.avg_pool2d(x, 2) * self.coefficient + self.bias


class PartialConv2d(nn.Module):
    """A convolution of which each output map is made from some of the input maps only: C3.

    Args:
        parts: The input maps of each output map.
        size: Height and width of the kernels.
    """

    def __init__(self, parts: list[list[int]], size: int) -> None:
        super().__init__()
        self.parts = parts
        self.convs = nn.ModuleList(nn.Conv2d(len(part), 1, size) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x[:, part]) for conv, part in zip(self.convs, self.parts, strict=True)], 1)
