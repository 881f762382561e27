"""Which class an image shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import AdamW

from visiontasks.models import Backbone, LabelHead
from visiontasks.schedules import Cosine, Schedule
from visiontasks.tasks.base import HeadFactory, OptimizerFactory, VisionTask


class DefaultAdamW(AdamW):
    """Fused AdamW at a rate for fine-tuning.

    With no other argument, since jsonargparse hands those of a default on to whatever optimizer is named instead.
    """

    def __init__(self, params: Iterable[Any], lr: float = 3e-4) -> None:
        super().__init__(params, lr=lr, weight_decay=0.01, fused=True)
        self._step_supports_amp_scaling = False  # else Lightning refuses to clip gradients in mixed precision


class ClassificationTask(VisionTask):
    """One class an image.

    Args:
        spec: `class_names`, `image_size` and `resize`: `VisionDataModule.spec`.
        backbone: The source of features.
        head: Called with the backbone's channels and the number of classes.
        optimizer: Called with the parameter groups.
        schedule: Factor on the learning rate over time.
        backbone_lr_ratio: The backbone's learning rate as a share of the head's.
        weights: Checkpoint of another run to start from; a head of other classes is made anew.
        compile: Compile the backbone.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        backbone: Backbone,
        head: HeadFactory = LabelHead,
        optimizer: OptimizerFactory = DefaultAdamW,
        schedule: Schedule = Cosine(),
        backbone_lr_ratio: float = 1.0,
        weights: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(spec, backbone, {"label": head}, optimizer, schedule, backbone_lr_ratio, weights, compile)
