"""The tasks: classification, multilabel classification, regression, segmentation and localization."""

from collections.abc import Callable
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.models import Backbone, BoxHead, DetectionHead, LabelHead, LabelsHead, SMPHead, ValueHead
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

    keys = ("label",)
    __init__ = one_head(*keys, LabelHead)


class MultilabelTask(VisionTask):
    """Any number of classes per image."""

    keys = ("labels",)
    __init__ = one_head(*keys, LabelsHead)


class RegressionTask(VisionTask):
    """One or more numbers per image."""

    keys = ("value",)
    __init__ = one_head(*keys, ValueHead)


class SegmentationTask(VisionTask):
    """One class per pixel."""

    keys = ("mask",)
    __init__ = one_head(*keys, SMPHead)


class DetectionTask(VisionTask):
    """Any number of objects per image, each with a class and a box."""

    keys = ("objects",)
    __init__ = one_head(*keys, DetectionHead)


class LocalizationTask(VisionTask):
    """One class and one box per image; only the box if the set has one class.

    `localization` is the share of images whose class is right and whose IoU is above 0.5 (Russakovsky et al. 2015,
    section 4.2).

    Args:
        spec: `class_names`, `mask_names`, `image_size` and `resize`: `VisionDataModule.spec`.
        backbone: The source of features.
        box_head: Called with the backbone's channels and the number of classes.
        label_head: Called in the same way.
        label_weight: Weight of the loss of the label, 0..1; the box has the rest.
        optimizer: Called with the parameter groups.
        schedule: Factor on the learning rate over time.
        backbone_lr_ratio: The backbone's learning rate as a share of the heads'.
        weights: Checkpoint of another run to start from; heads of other classes are created from scratch.
        compile: Compile the backbone.
    """

    keys = ("bbox", "label")

    def __init__(
        self,
        spec: dict[str, Any],
        backbone: Backbone,
        box_head: HeadFactory = BoxHead,
        label_head: HeadFactory = LabelHead,
        label_weight: float = 0.2,
        optimizer: OptimizerFactory = DefaultAdamW,
        schedule: Schedule = Cosine(),
        backbone_lr_ratio: float = 1.0,
        weights: str | None = None,
        compile: bool = False,
    ) -> None:
        if not 0 <= label_weight <= 1:
            raise InputError(f"model.label_weight: {label_weight} must be a share, 0..1.")
        heads, shares = {"bbox": box_head}, {"bbox": 1 - label_weight}
        if len(spec["class_names"]) > 1:
            heads, shares = heads | {"label": label_head}, shares | {"label": label_weight}
        super().__init__(spec, backbone, heads, shares, optimizer, schedule, backbone_lr_ratio, weights, compile)
