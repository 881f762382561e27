"""Which object, and where."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL, Batch
from visiontasks.models import Backbone, BoxHead, LabelHead
from visiontasks.models.heads.base import Stage
from visiontasks.targets.metrics import ClassMean, box_iou
from visiontasks.tasks.base import HeadFactory, OptimizerFactory, VisionTask
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.schedules import Cosine, Schedule


class LocalizationTask(VisionTask):
    """One class and one box an image; the box alone where the set has one class.

    Beside the metrics of its heads it logs `localization`: the share of images whose class is right and whose
    IoU is above 0.5 (Russakovsky et al. 2015, section 4.2). A test also gives the mean IoU of each class.

    Args:
        spec: `class_names`, `mask_names`, `image_size` and `resize`: `VisionDataModule.spec`.
        backbone: The source of features.
        box_head: Called with the backbone's channels and the number of classes.
        label_head: Called in the same way.
        label_weight: Weight of the label's loss, 0..1; the box's is the rest.
        optimizer: Called with the parameter groups.
        schedule: Factor on the learning rate over time.
        backbone_lr_ratio: The backbone's learning rate as a share of the heads'.
        weights: Checkpoint of another run to start from; heads of other classes are made anew.
        compile: Compile the backbone.
    """

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
        self.val_localization, self.test_localization = MeanMetric(), MeanMetric()
        if "label" in heads:
            self.test_tables["both"] = MetricCollection({"iou": ClassMean(len(spec["class_names"]))})

    def observe(self, outputs: dict[str, Tensor], batch: Batch, stage: Stage) -> None:
        if stage == "train" or "label" not in outputs:
            return
        heads = dict(self._heads())
        box, label = self.target(batch, "bbox"), self.target(batch, "label")
        iou = box_iou(heads["bbox"].scores(outputs["bbox"]), box)
        known = iou.isfinite() & (label != IGNORE_LABEL)
        right = heads["label"].scores(outputs["label"]).argmax(1) == label
        metric = self.val_localization if stage == "val" else self.test_localization
        metric.update((right & (iou > 0.5))[known].float())
        self.log(f"{stage}/localization", metric, on_step=False, on_epoch=True, batch_size=len(known))
        if stage == "test":
            self.test_tables["both"].update(iou[known], label[known])
