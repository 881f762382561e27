"""Builds models: the one that a checkpoint describes, and a pretrained network with its own classes."""

from collections import Counter
from typing import Any

from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torch import nn, optim
from torch.optim import lr_scheduler

from visiontasks import losses, models, tasks
from visiontasks.core.build import build, check
from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted, class_table, members, trusted_classes
from visiontasks.models.backbone import Backbone
from visiontasks.models.network import without_weights
from visiontasks.tasks.base import VisionTask
from visiontasks.tasks.checkpoint import read_checkpoint

FOR_TRAINING = {"compile": False, "weights": None}
RESIZE = {"center": "crop", "squash": "stretch", "border": "letterbox"}  # timm's name: ours


def restore_task(path: str, trust: Trusted = ()) -> VisionTask:
    """Builds the model that a checkpoint describes, with its weights, on the CPU in eval mode.

    Raises:
        InputError: The file is not a checkpoint of visiontasks, or names a class that is neither from visiontasks or
            torch nor among the modules and classes in `trust`.
    """
    checkpoint = read_checkpoint(path)
    task = build_task(checkpoint["hyper_parameters"], trust, f"{path}: model")
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: the weights do not fit the model that it describes: {error}") from None
    return task.eval()


def build_task(description: Any, trust: Trusted = (), where: str = "model") -> VisionTask:
    """Builds a model from its `class_path` and `init_args`, with random weights.

    Raises:
        InputError: A class is not in `model_classes`, or cannot be built with these arguments.
    """
    description = check_task(description, trust, where)
    init_args = {name: FOR_TRAINING.get(name, value) for name, value in description["init_args"].items()}
    try:
        with without_weights():
            return build({**description, "init_args": init_args}, VisionTask, model_classes(trust), where)
    except Exception as error:  # arguments of another version or a hostile file
        raise InputError(f"{where}: cannot be built as the checkpoint describes it: {error}") from error


def check_task(description: Any, trust: Trusted = (), where: str = "model") -> dict[str, Any]:
    """Returns the description of a model with the public path of each class.

    Raises:
        InputError: It names a class that is not in `model_classes`, or `build` refuses it.
    """
    found = check(description, VisionTask, model_classes(trust), where)
    if not found.get("init_args"):
        raise InputError(f"{where}: it has no init_args, the arguments of {found['class_path']}.")
    return found


def model_classes(trust: Trusted = ()) -> dict[str, type]:
    """Returns the only classes that a checkpoint may name; see `class_table`."""
    ours = [cls for room in (tasks, models, losses) for cls in members(room)]
    torchs = [*members(optim, optim.Optimizer), *members(lr_scheduler, lr_scheduler.LRScheduler)]
    return class_table([*ours, *torchs, *members(nn, nn.Module), *trusted_classes(trust)])


def pretrained_task(name: str, pretrained: bool | str) -> tasks.ClassificationTask:
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
    task = tasks.ClassificationTask(spec, backbone)
    task.heads["label"].classifier = nn.Identity()  # the final map of the backbone holds the logits
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
