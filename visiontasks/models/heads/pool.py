"""Pooling for heads of whole images."""

from typing import Literal

import torch
from torch import Tensor, nn

Pool = Literal["avg", "max", "avgmax", "flatten"]


def pool(final: Tensor, how: Pool) -> Tensor:
    """Pools a feature map, float (B, C, h, w), to its mean, its maximum, both concatenated, or all its values."""
    match how:
        case "avg":
            return final.mean((2, 3))
        case "max":
            return final.amax((2, 3))
        case "avgmax":
            return torch.cat([final.mean((2, 3)), final.amax((2, 3))], 1)
        case "flatten":
            return final.flatten(1)


def pooled_width(how: Pool, channels: int) -> int:
    """Returns the number of pooled features; 0 for `flatten`, because it depends on the image size."""
    return {"avg": 1, "max": 1, "avgmax": 2, "flatten": 0}[how] * channels


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Makes a linear layer; if `inputs` is 0, the first batch sets their number."""
    return nn.Linear(inputs, outputs) if inputs else nn.LazyLinear(outputs)
