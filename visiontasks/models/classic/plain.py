"""Base of the classic networks: sequential stages with timm's interface for feature maps."""

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import accumulate
from operator import mul
from typing import Any, NamedTuple

from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn


class Stage(NamedTuple):
    """Layers, the number of their output channels, and the factor by which they reduce the size of the map."""

    layers: nn.Module
    channels: int
    stride: int = 1


class PlainNet(nn.Module):
    """Sequential stages; the output of the last stage is the final map."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.num_classes, self.num_features = 0, stages[-1].channels
        self.stages = nn.ModuleList(stage.layers for stage in stages)
        strides = accumulate((stage.stride for stage in stages), mul)
        self.feature_info = [
            {"num_chs": stage.channels, "reduction": stride, "module": f"stages.{number}"}
            for number, (stage, stride) in enumerate(zip(stages, strides, strict=True))
        ]

    def forward_intermediates(self, x: Tensor, indices: int | list[int] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Returns the final map and the maps that `indices` selects (all, the last n, or a list), as timm does."""
        numbers = range(len(self.stages))
        taken = numbers[-indices:] if isinstance(indices, int) else [numbers[i] for i in indices or numbers]
        maps = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in taken:
                maps.append(x)
        return x, maps

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_intermediates(x, 1)[0]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        return {"stages": r"^stages\.(\d+)"}


def classic(size: int, channels: int = 3) -> Callable[[Any], Callable[..., PlainNet]]:
    """Registers a network with timm under the name of a function that makes its stages from `in_chans`.

    Args:
        size: Height and width in pixels of the images for which the network was published.
        channels: Number of channels of these images.
    """
    config = {"input_size": (channels, size, size), "mean": (0.5,) * channels, "std": (0.5,) * channels}

    def register(make: Any) -> Callable[..., PlainNet]:
        @wraps(make)
        def network(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> PlainNet:
            def build(in_chans: int = channels, num_classes: int = 0) -> PlainNet:
                return PlainNet(make(in_chans))

            name = make.__name__
            return build_model_with_cfg(build, name, pretrained, pretrained_cfg=pretrained_cfg or config, **options)

        return register_model(network)

    return register
