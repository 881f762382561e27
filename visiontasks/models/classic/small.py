"""Small networks: LeNet-5, networks for CIFAR-10 and Fashion-MNIST, and one with handmade filters."""

import torch
from torch import Tensor, nn

from visiontasks.models.classic.plain import Stage, classic

# table I of LeNet-5: the maps of S2 (of six) that each of the sixteen maps of C3 takes as input
PARTS = [[(first + step) % 6 for step in range(count)] for count in (3, 4) for first in range(6)]
PARTS += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5]]
FILTER_SIDE = 7


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


@classic(size=32)
def cifar10_alexnet(in_chans: int) -> list[Stage]:
    """AlexNet-like network: three 5x5 convolutions of 32, 64 and 64 maps, 2x2 max pooling after each.

    Images of 32x32 and of 28x28 pixels both end in 64 maps of 4x4, because the last pooling rounds up. It has 1,191,170
    weights with `LabelHead(pool="flatten", hidden=[1000])` and ten classes.
    """
    return _alexnet(in_chans, batch_norm=False)


@classic(size=32)
def cifar10_alexnet_bn(in_chans: int) -> list[Stage]:
    """`cifar10_alexnet` with batch norm between each convolution and its ReLU."""
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
    """Three 3x3 convolutions of 32, 64 and 64 maps, 2x2 max pooling after the first two.

    It has 319,178 weights with `LabelHead(pool="flatten", hidden=[64])` and ten classes of 32x32 pixels.
    """
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), 32, 2),
        Stage(nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), 64, 2),
        Stage(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()), 64),
    ]


@classic(size=32)
def cifar10_convnet_strided(in_chans: int) -> list[Stage]:
    """`cifar10_convnet` with stride 2 instead of each pooling; it has the same number of weights."""
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 32, 3, stride=2, padding=1), nn.ReLU()), 32, 2),
        Stage(nn.Sequential(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()), 64, 2),
        Stage(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()), 64),
    ]


@classic(size=28, channels=1)
def fashion_cnn(in_chans: int) -> list[Stage]:
    """One 7x7 convolution of 64 maps, two 3x3 ones of 128 and two of 256, 2x2 max pooling after each width.

    It has 1,413,834 weights with `LabelHead(pool="flatten", hidden=[128, 64], dropout=0.5)` and ten classes of 28x28
    gray pixels.
    """
    stages = [Stage(nn.Sequential(nn.Conv2d(in_chans, 64, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2)), 64, 2)]
    for inputs, width in ((64, 128), (128, 256)):
        convs = [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        stages.append(Stage(nn.Sequential(*convs, nn.MaxPool2d(2)), width, 2))
    return stages


@classic(size=28, channels=1)
def dense300_100(in_chans: int) -> list[Stage]:
    """Two dense layers of 300 and 100 units with ELU on the 28x28 pixels, dropout 0.2 before each; no convolution.

    It has 266,610 weights with `LabelHead(dropout=0.2)` and ten classes of gray pixels. Its final map is 1x1.
    """
    dense = [nn.Linear(28 * 28 * in_chans, 300), nn.Linear(300, 100)]
    for layer in dense:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    layers = [part for layer in dense for part in (nn.Dropout(0.2), layer, nn.ELU())]
    return [Stage(nn.Sequential(Pixels(28), *layers, nn.Unflatten(1, (100, 1, 1))), 100, 28)]


class Pixels(nn.Flatten):
    """Flattens square images of one size: the dense layer after it needs a fixed number of values."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, input: Tensor) -> Tensor:
        height, width = input.shape[-2:]
        assert height == width == self.side, f"{self.side} x {self.side} pixels, found {height} x {width}"
        return super().forward(input)


def filters_by_hand() -> dict[str, Tensor]:
    """Returns, by name, identity, edges, sharpening and blur (3x3 values centered in 7x7) and two lines of 7 pixels."""
    small = {
        "identity": torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]),
        "edges": torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
        "sharpen": torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        "gaussian": torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16,
    }
    found = {name: nn.functional.pad(kernel, [(FILTER_SIDE - 3) // 2] * 4) for name, kernel in small.items()}
    vertical = torch.zeros(FILTER_SIDE, FILTER_SIDE)
    vertical[:, FILTER_SIDE // 2] = 1
    return found | {"vertical line": vertical, "horizontal line": vertical.T}


@classic(size=224, channels=1)
def by_hand(in_chans: int) -> list[Stage]:
    """One convolution with the six filters of `filters_by_hand`, in that order, on the mean of the channels."""
    filters = torch.stack([*filters_by_hand().values()])
    conv = nn.Conv2d(in_chans, len(filters), FILTER_SIDE, padding=FILTER_SIDE // 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(filters[:, None].expand_as(conv.weight) / in_chans)
    return [Stage(conv, len(filters))]
