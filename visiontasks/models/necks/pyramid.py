"""The feature pyramid network."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FeaturePyramid(nn.Module):
    """Adds the deeper maps to the finer ones (Lin et al. 2017, section 3): 1x1, nearest upsampling and sum, 3x3.

    Args:
        channels: Channels of the maps, the finest first.
        width: Channels of the results.

    Shape:
        maps (B, C, h, w), the finest first; results (B, width, h, w) of the same sides.
    """

    def __init__(self, channels: list[int], width: int = 64) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.output = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Computes one map for each given one."""
        sums = [torch.empty(0)] * len(maps)
        for level in reversed(range(len(maps))):
            sums[level] = self.lateral[level](maps[level])
            if level + 1 < len(maps):
                sums[level] = sums[level] + F.interpolate(sums[level + 1], sums[level].shape[-2:])
        return [layer(part) for layer, part in zip(self.output, sums, strict=True)]
