"""Tasks with one head: classification, multilabel classification, regression and segmentation."""

from collections.abc import Callable
from typing import Any

from visiontasks.models import Backbone, LabelHead, LabelsHead, SMPHead, ValueHead
from visiontasks.tasks.base import HeadFactory, OptimizerFactory, VisionTask
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.schedules import Cosine, Schedule


def one_head(key: str, default: HeadFactory) -> Callable[..., None]:
    """Returns the constructor of a task with one head, whose class is `default` if not given."""

    def __init__(
        self: VisionTask,
        spec: dict[str, Any],
        backbone: Backbone,
        head: HeadFactory = default,
        optimizer: OptimizerFactory = DefaultAdamW,
        schedule: Schedule = Cosine(),
        backbone_lr_ratio: float = 1.0,
        weights: str | None = None,
        compile: bool = False,
    ) -> None:
        """Builds the task.

        Args:
            spec: Names of the classes or values, `image_size` and `resize`: `VisionDataModule.spec`.
            backbone: The source of features.
            head: Called with the backbone's channels and the number of classes or values.
            optimizer: Called with the parameter groups.
            schedule: Factor on the learning rate over time.
            backbone_lr_ratio: The backbone's learning rate as a share of the head's.
            weights: Checkpoint of another run to start from; a head of other classes is created from scratch.
            compile: Compile the backbone.
        """
        heads = {key: head}
        VisionTask.__init__(self, spec, backbone, heads, None, optimizer, schedule, backbone_lr_ratio, weights, compile)

    return __init__


class ClassificationTask(VisionTask):
    """One class per image."""

    __init__ = one_head("label", LabelHead)


class MultilabelTask(VisionTask):
    """Any number of classes per image."""

    __init__ = one_head("labels", LabelsHead)


class RegressionTask(VisionTask):
    """One or more numbers per image."""

    __init__ = one_head("value", ValueHead)


class SegmentationTask(VisionTask):
    """One class per pixel."""

    __init__ = one_head("mask", SMPHead)
