"""The optimizer of a task that names none."""

from collections.abc import Iterable
from typing import Any

from torch.optim import AdamW

from visiontasks.core.compat import allow_clipping


class DefaultAdamW(AdamW):
    """Fused AdamW at a rate for fine-tuning.

    With no other argument, since jsonargparse hands those of a default on to whatever optimizer is named instead.
    """

    def __init__(self, params: Iterable[Any], lr: float = 3e-4) -> None:
        super().__init__(params, lr=lr, weight_decay=0.01, fused=True)
        allow_clipping(self)  # else Lightning refuses to clip gradients in mixed precision
