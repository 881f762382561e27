"""Pretrained networks with their own classes and preprocessing, without training."""

from collections import Counter
from typing import Any

from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from visiontasks.core.errors import InputError
from visiontasks.models import Backbone
from visiontasks.tasks import ClassificationTask

RESIZE = {"center": "crop", "squash": "stretch", "border": "letterbox"}  # timm's name: ours


def pretrained_task(name: str, pretrained: bool | str) -> ClassificationTask:
    """Builds a task from a timm network and its own classifier; see `Predictor.open`.

    Its `spec` has timm's size, crop and class names. Images are resized by averaging or bilinear interpolation,
    whatever interpolation timm names.
    """
    if pretrained is False:
        raise InputError(f"pretrained: false leaves {name} without weights, so its predictions would be random.")
    backbone = Backbone(name, pretrained, top=True)
    found = resolve_model_data_config(backbone.net)
    spec = {
        "class_names": class_names(backbone.net.num_classes),
        "mask_names": [],
        "image_size": list(found["input_size"][1:]),
        "resize": RESIZE[found["crop_mode"]],
        "crop_share": found["crop_pct"],
    }
    task = ClassificationTask(spec, backbone)
    head: Any = task.heads["label"]
    head.classifier = nn.Identity()  # the final map of the backbone holds the logits
    return task


def class_names(count: int) -> list[str]:
    """Returns timm's class names if `count` is the size of ImageNet or one of its larger sets, else numbers."""
    subset = infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return [str(number) for number in range(count)]
    info = ImageNetInfo(subset)
    names, labels = info.label_descriptions(), info.label_names()
    often = Counter(names)  # "crane" is a bird and a machine
    return [name if often[name] == 1 else f"{name} ({label})" for name, label in zip(names, labels, strict=True)]
