"""Which class an image shows."""

from typing import Any

from visiontasks.models import Backbone, LabelHead
from visiontasks.tasks.base import HeadFactory, OptimizerFactory, VisionTask
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.schedules import Cosine, Schedule


class ClassificationTask(VisionTask):
    """One class an image.

    Args:
        spec: `class_names`, `mask_names`, `image_size` and `resize`: `VisionDataModule.spec`.
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
        heads = {"label": head}
        super().__init__(spec, backbone, heads, None, optimizer, schedule, backbone_lr_ratio, weights, compile)
