"""A network with handmade filters."""

import torch
from torch import Tensor, nn

from visiontasks.models.classic.plain import Stage, classic

SIDE = 7


def filters_by_hand() -> dict[str, Tensor]:
    """Returns, by name, identity, edges, sharpening and blur (3x3 values centered in 7x7) and two lines of 7 pixels."""
    small = {
        "identity": torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]),
        "edges": torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
        "sharpen": torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        "gaussian": torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16,
    }
    found = {name: nn.functional.pad(kernel, [(SIDE - 3) // 2] * 4) for name, kernel in small.items()}
    vertical = torch.zeros(SIDE, SIDE)
    vertical[:, SIDE // 2] = 1
    return found | {"vertical line": vertical, "horizontal line": vertical.T}


@classic(size=224, channels=1)
def by_hand(in_chans: int) -> list[Stage]:
    """One convolution with the six filters of `filters_by_hand`, in that order, on the mean of the channels."""
    filters = torch.stack([*filters_by_hand().values()])
    conv = nn.Conv2d(in_chans, len(filters), SIDE, padding=SIDE // 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(filters[:, None].expand_as(conv.weight) / in_chans)
    return [Stage(conv, len(filters))]
