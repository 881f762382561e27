"""Small networks for CIFAR-10."""

from __future__ import annotations

from torch import nn

from visiontasks.models.classic.plain import Stage, classic


@classic(size=32)
def cifar10_alexnet(in_chans: int) -> list[Stage]:
    """An AlexNet-like net: three 5x5 convolutions of 32, 64 and 64 maps, 2x2 max pooling behind each.

    Of 32x32 and of 28x28 pixels alike it leaves 64 maps of 4x4 (the last pooling rounds up). With
    `LabelHead(pool="flatten", hidden=[1000])` and ten classes it has 1,191,170 weights.
    """
    return _alexnet(in_chans, batch_norm=False)


@classic(size=32)
def cifar10_alexnet_bn(in_chans: int) -> list[Stage]:
    """The same with batch norm behind each convolution, before ReLU."""
    return _alexnet(in_chans, batch_norm=True)


def _alexnet(in_chans: int, batch_norm: bool) -> list[Stage]:
    stages = []
    for inputs, width, ceil in ((in_chans, 32, False), (32, 64, False), (64, 64, True)):
        norm = [nn.BatchNorm2d(width)] if batch_norm else []
        layers = [nn.Conv2d(inputs, width, 5, padding=2), *norm, nn.ReLU(), nn.MaxPool2d(2, ceil_mode=ceil)]
        stages.append(Stage(nn.Sequential(*layers), width, 2))
    return stages


@classic(size=32)
def cifar10_convnet(in_chans: int) -> list[Stage]:
    """Three 3x3 convolutions of 32, 64 and 64 maps, 2x2 max pooling behind the first two.

    With `LabelHead(pool="flatten", hidden=[64])` and ten classes of 32x32 pixels it has 319,178 weights.
    """
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), 32, 2),
        Stage(nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), 64, 2),
        Stage(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()), 64),
    ]


@classic(size=32)
def cifar10_convnet_strided(in_chans: int) -> list[Stage]:
    """The same with convolutions of stride 2 in place of those with a pooling: as many weights."""
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 32, 3, stride=2, padding=1), nn.ReLU()), 32, 2),
        Stage(nn.Sequential(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()), 64, 2),
        Stage(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()), 64),
    ]
