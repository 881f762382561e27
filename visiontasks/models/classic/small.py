"""Small networks for CIFAR-10, MNIST and Fashion-MNIST."""

from torch import Tensor, nn

from visiontasks.models.classic.plain import Stage, classic


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
