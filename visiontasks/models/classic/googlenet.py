"""GoogLeNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from visiontasks.models.classic.alexnet import response_norm
from visiontasks.models.classic.plain import Stage, classic


@classic(size=224)
def googlenet(in_chans: int) -> list[Stage]:
    """GoogLeNet as published: nine inception modules, local response normalization, no hidden dense layer.

    Szegedy et al. 2014, table 1, without the auxiliary classifiers: with 1000 classes 6,998,552 weights. timm and
    torchvision have later variants with batch norm.
    """
    return [
        Stage(conv(in_chans, 64, 7, stride=2), 64, 2),
        Stage(
            nn.Sequential(pool(), response_norm(), conv(64, 64, 1), conv(64, 192, 3), response_norm()),
            192,
            2,
        ),
        Stage(
            nn.Sequential(pool(), Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64)),
            480,
            2,
        ),
        Stage(
            nn.Sequential(
                pool(),
                Inception(480, 192, 96, 208, 16, 48, 64),
                Inception(512, 160, 112, 224, 24, 64, 64),
                Inception(512, 128, 128, 256, 24, 64, 64),
                Inception(512, 112, 144, 288, 32, 64, 64),
                Inception(528, 256, 160, 320, 32, 128, 128),
            ),
            832,
            2,
        ),
        Stage(
            nn.Sequential(
                pool(), Inception(832, 256, 160, 320, 32, 128, 128), Inception(832, 384, 192, 384, 48, 128, 128)
            ),
            1024,
            2,
        ),
    ]


class Inception(nn.Module):
    """Convolutions of 1x1, 3x3 and 5x5 and a pooling side by side, the larger ones behind 1x1 bottlenecks (figure 2b).

    The arguments are the numbers of channels, in the order of the columns of table 1.
    """

    def __init__(self, inputs: int, one: int, before_three: int, three: int, before_five: int, five: int, pooled: int):
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv(inputs, one, 1),
                nn.Sequential(conv(inputs, before_three, 1), conv(before_three, three, 3)),
                nn.Sequential(conv(inputs, before_five, 1), conv(before_five, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(inputs, pooled, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """A padded convolution with ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # ty: ignore[invalid-argument-type]
    return nn.Sequential(layer, nn.ReLU())


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
