"""Small networks for Fashion-MNIST and MNIST."""

from __future__ import annotations

from torch import Tensor, nn

from visiontasks.models.classic.plain import Stage, classic


@classic(size=28, channels=1)
def fashion_cnn(in_chans: int) -> list[Stage]:
    """A 7x7 convolution of 64 maps, twice two 3x3 convolutions of 128 and 256; 2x2 max pooling behind each step.

    With `LabelHead(pool="flatten", hidden=[128, 64], dropout=0.5)` and ten classes of 28x28 gray pixels it has
    1,413,834 weights.
    """
    stages = [Stage(nn.Sequential(nn.Conv2d(in_chans, 64, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2)), 64, 2)]
    for inputs, width in ((64, 128), (128, 256)):
        convs = [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        stages.append(Stage(nn.Sequential(*convs, nn.MaxPool2d(2)), width, 2))
    return stages


@classic(size=28, channels=1)
def dense300_100(in_chans: int) -> list[Stage]:
    """No convolution: the 28x28 pixels in a row, dense layers of 300 and 100 units with ELU, dropout 0.2 before each.

    With `LabelHead(dropout=0.2)` and ten classes of gray pixels it has 266,610 weights. Its final map is 1x1.
    """
    dense = [nn.Linear(28 * 28 * in_chans, 300), nn.Linear(300, 100)]
    for layer in dense:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    layers = [part for layer in dense for part in (nn.Dropout(0.2), layer, nn.ELU())]
    return [Stage(nn.Sequential(Pixels(28), *layers, nn.Unflatten(1, (100, 1, 1))), 100, 28)]


class Pixels(nn.Flatten):
    """The values of square images of one size in a row: a dense layer has a weight for each."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, input: Tensor) -> Tensor:
        height, width = input.shape[-2:]
        assert height == width == self.side, f"{self.side} x {self.side} pixels, found {height} x {width}"
        return super().forward(input)
