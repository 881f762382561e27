"""The default optimizer."""

from collections.abc import Iterable
from typing import Any

from torch.optim import AdamW

from visiontasks.core.compat import allow_clipping


class DefaultAdamW(AdamW):
    """Fused AdamW with a learning rate for fine-tuning.

    It has no other arguments, because jsonargparse passes those of a default on to an optimizer named in its place.
    """

    def __init__(self, params: Iterable[Any], lr: float = 3e-4) -> None:
        super().__init__(params, lr=lr, weight_decay=0.01, fused=True)
        allow_clipping(self)  # Lightning would refuse to clip gradients in mixed precision
