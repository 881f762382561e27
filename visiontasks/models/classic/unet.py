"""Contracting path of U-Net."""

from torch import nn

from visiontasks.models.classic.plain import Stage, classic

CHANNELS = (64, 128, 256, 512, 1024)


@classic(size=256)
def unet2015(in_chans: int) -> list[Stage]:
    """Contracting path of U-Net: two 3x3 convolutions with ReLU at each stride, 2x2 max pooling between strides.

    Ronneberger, Fischer and Brox 2015, section 2, figure 1, with padded convolutions; it has 19 million weights.
    """
    return _stages(in_chans, batch_norm=False)


@classic(size=256)
def unet2015_bn(in_chans: int) -> list[Stage]:
    """`unet2015` with batch norm after each convolution."""
    return _stages(in_chans, batch_norm=True)


def _stages(in_chans: int, batch_norm: bool) -> list[Stage]:
    stages = []
    for below, width in zip((in_chans, *CHANNELS), CHANNELS, strict=False):
        layers = double_conv(below, width, batch_norm)
        init_he(layers)
        if stages:
            layers = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), layers)
        stages.append(Stage(layers, width, stride=2 if stages else 1))
    return stages


def double_conv(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    """Makes two padded 3x3 convolutions, each with ReLU."""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=not batch_norm), *norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def init_he(module: nn.Module) -> None:
    """Draws the weights of all convolutions from a normal distribution of variance 2 / fan-in, as in the paper."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
