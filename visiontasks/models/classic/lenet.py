"""LeNet-5."""

import torch
from torch import Tensor, nn

from visiontasks.models.classic.plain import Stage, classic

# table I: the maps of S2 (of six) that each of the sixteen maps of C3 takes as input
PARTS = [[(first + step) % 6 for step in range(count)] for count in (3, 4) for first in range(6)]
PARTS += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5]]


@classic(size=28, channels=1)
def lenet5(in_chans: int) -> list[Stage]:
    """LeNet-5 in its usual modern form: C3 takes all maps of S2, pooling has no weights, the output is linear.

    It has 61,706 weights with ten classes of 28x28 pixels. For larger images the last maps are larger than 1x1.
    """
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 6, 5, padding=2), nn.Tanh()), 6),
        Stage(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh()), 16, 2),
        Stage(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(16, 120, 5), nn.Tanh()), 120, 2),
        Stage(nn.Sequential(nn.Conv2d(120, 84, 1), nn.Tanh()), 84),
    ]


@classic(size=28, channels=1)
def lenet5_1998(in_chans: int) -> list[Stage]:
    """LeNet-5 as published (LeCun et al. 1998, section II.B): C3 takes parts of S2, pooling has trained weights.

    It has the published 60,000 weights for gray images. `LabelHead(distance=True)` is its output: the distances of
    the features to one vector per class.
    """
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 6, 5, padding=2), ScaledTanh()), 6),
        Stage(nn.Sequential(TrainedPool(6), ScaledTanh(), PartialConv2d(PARTS, 5), ScaledTanh()), 16, 2),
        Stage(nn.Sequential(TrainedPool(16), ScaledTanh(), nn.Conv2d(16, 120, 5), ScaledTanh()), 120, 2),
        Stage(nn.Sequential(nn.Conv2d(120, 84, 1), ScaledTanh()), 84),
    ]


class ScaledTanh(nn.Module):
    """1.7159 tanh(2/3 x), which maps 1 to 1 and -1 to -1 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * x)


class TrainedPool(nn.Module):
    """Sum of 2x2 values, times one coefficient per map, plus one bias per map: S2 and S4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return 4 * nn.functional.avg_pool2d(x, 2) * self.coefficient + self.bias


class PartialConv2d(nn.Module):
    """Convolution in which each output map takes only some of the input maps: C3.

    Args:
        parts: Numbers of the input maps of each output map.
        size: Height and width of the kernels.
    """

    def __init__(self, parts: list[list[int]], size: int) -> None:
        super().__init__()
        self.parts = parts
        self.convs = nn.ModuleList(nn.Conv2d(len(part), 1, size) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x[:, part]) for conv, part in zip(self.convs, self.parts, strict=True)], 1)
