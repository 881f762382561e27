"""Networks for ImageNet: AlexNet and GoogLeNet."""

import torch
from torch import Tensor, nn

from visiontasks.models.classic.plain import Stage, classic

INCEPTIONS = {  # table 1 of GoogLeNet: output channels of a stage, and the arguments of its inception modules
    480: [(192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64)],
    832: [
        *[(480, 192, 96, 208, 16, 48, 64), (512, 160, 112, 224, 24, 64, 64), (512, 128, 128, 256, 24, 64, 64)],
        *[(512, 112, 144, 288, 32, 64, 64), (528, 256, 160, 320, 32, 128, 128)],
    ],
    1024: [(832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128)],
}


@classic(size=224)
def alexnet(in_chans: int) -> list[Stage]:
    """The convolutions of AlexNet as published: with local response normalization and, for its two GPUs, two groups.

    Krizhevsky, Sutskever and Hinton 2012, section 3. It has 60,965,224 weights with `LabelHead(pool="flatten",
    hidden=[4096, 4096], dropout=0.5)` and 1000 classes of 224x224 pixels.
    """
    first = nn.Sequential(nn.Conv2d(in_chans, 96, 11, stride=4, padding=2), nn.ReLU(), response_norm())
    second = (nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), response_norm())
    others = nn.Sequential(
        *(nn.MaxPool2d(3, 2), nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU()),
    )
    last = nn.MaxPool2d(3, 2)
    return [Stage(first, 96, 4), Stage(nn.Sequential(*second), 256, 2), Stage(others, 256, 2), Stage(last, 256, 2)]


def response_norm() -> nn.LocalResponseNorm:
    """Makes a layer in which strong units inhibit the units at the same place in neighboring maps.

    Krizhevsky, Sutskever and Hinton 2012, section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75. Torch divides alpha
    by n; the paper does not.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)


@classic(size=224)
def googlenet(in_chans: int) -> list[Stage]:
    """GoogLeNet as published: nine inception modules, local response normalization, no hidden dense layer.

    Szegedy et al. 2014, table 1, without the auxiliary classifiers; it has 6,998,552 weights with 1000 classes. timm
    and torchvision have later variants with batch norm.
    """
    first = conv(in_chans, 64, 7, stride=2)
    second = nn.Sequential(pool(), response_norm(), conv(64, 64, 1), conv(64, 192, 3), response_norm())
    stages = [Stage(first, 64, 2), Stage(second, 192, 2)]
    for channels, rows in INCEPTIONS.items():
        stages.append(Stage(nn.Sequential(pool(), *(Inception(*row) for row in rows)), channels, 2))
    return stages


class Inception(nn.Module):
    """Parallel 1x1, 3x3 and 5x5 convolutions and pooling; 1x1 bottlenecks precede the larger kernels (figure 2b).

    The arguments are the numbers of channels, in the order of the columns of table 1.
    """

    def __init__(self, inputs: int, one: int, before_three: int, three: int, before_five: int, five: int, pooled: int):
        super().__init__()
        branches = [
            conv(inputs, one, 1),
            nn.Sequential(conv(inputs, before_three, 1), conv(before_three, three, 3)),
            nn.Sequential(conv(inputs, before_five, 1), conv(before_five, five, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(inputs, pooled, 1)),
        ]
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Makes a padded convolution with ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # ty: ignore[invalid-argument-type]
    return nn.Sequential(layer, nn.ReLU())


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
