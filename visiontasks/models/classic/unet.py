"""U-Net's contracting path."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

CHANNELS = (64, 128, 256, 512, 1024)


class UNetEncoder(nn.Module):
    """The contracting path of U-Net: at each stride two 3x3 convolutions with ReLU, 2x2 max pooling between.

    Ronneberger, Fischer and Brox 2015, section 2, figure 1, with padded convolutions.

    Args:
        num_classes: Not used: it has no classifier.
        in_chans: Channels of the images.
        batch_norm: Put batch norm behind each convolution.
    """

    def __init__(self, num_classes: int = 0, in_chans: int = 3, batch_norm: bool = False) -> None:
        super().__init__()
        self.num_features, self.num_classes = CHANNELS[-1], num_classes
        self.feature_info = [
            {"num_chs": width, "reduction": 2**level, "module": f"blocks.{level}"}
            for level, width in enumerate(CHANNELS)
        ]
        widths = zip((in_chans, *CHANNELS), CHANNELS, strict=False)
        self.blocks = nn.ModuleList(double_conv(below, width, batch_norm) for below, width in widths)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        init_he(self)

    def forward_intermediates(self, x: Tensor, indices: int | list[int] | None = None) -> tuple[Tensor, list[Tensor]]:
        """As timm has it: the final map, and the maps that `indices` take (the last so many, or all)."""
        taken, _ = feature_take_indices(len(self.blocks), indices)
        maps = []
        for level, block in enumerate(self.blocks):
            x = block(self.pool(x) if level else x)
            if level in taken:
                maps.append(x)
        return x, maps

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_intermediates(x, 1)[0]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        return {"blocks": r"^blocks\.(\d+)"}


def double_conv(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    """Two padded 3x3 convolutions, each with ReLU."""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=not batch_norm), *norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def init_he(module: nn.Module) -> None:
    """Draws the weights of all convolutions from a normal distribution of variance 2 / fan-in, as the paper does."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


default_cfgs = generate_default_cfgs(
    {
        name: {"url": "", "input_size": (3, 256, 256), "mean": (0.5,) * 3, "std": (0.5,) * 3, "classifier": None}
        for name in ("unet2015.untrained", "unet2015_bn.untrained")
    }
)


@register_model
def unet2015(pretrained: bool = False, **kwargs: Any) -> UNetEncoder:
    """The contracting path as published, 19 million weights."""
    return build_model_with_cfg(UNetEncoder, "unet2015", pretrained, **kwargs)


@register_model
def unet2015_bn(pretrained: bool = False, **kwargs: Any) -> UNetEncoder:
    """The same with batch norm."""
    return build_model_with_cfg(UNetEncoder, "unet2015_bn", pretrained, batch_norm=True, **kwargs)
