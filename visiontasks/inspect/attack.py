"""Adversarial attacks: invisible changes of images that change the predicted class."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch
from captum.robust import PGD
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL, Batch
from visiontasks.tasks import VisionTask

Method = Literal["fgsm", "pgd"]


def attack(
    task: VisionTask, images: Tensor, labels: Tensor, radius: int = 8, method: Method = "pgd", steps: int = 10
) -> Tensor:
    """Changes images so that a model predicts another class.

    Args:
        task: A model with a label head; left in eval mode.
        images: uint8 (B, 3, H, W), as the network sees them.
        labels: Their classes, int64 (B,).
        radius: Maximum change of each value, in levels of 255.
        method: `fgsm`, one step along the sign of the gradient (Goodfellow, Shlens and Szegedy 2015, section 4), or
            `pgd`, several with a projection after each (Madry et al. 2018, eq. 1 and section 2.1).
        steps: Number of `pgd` steps, each of 2.5 `radius` / `steps`.

    Returns:
        uint8 (B, 3, H, W), no value further than `radius` from that of the image.

    Raises:
        InputError: The model has no label head, or a number is not positive.
    """
    check_label(task, "attack")
    if radius < 1 or steps < 1:
        raise InputError(f"attack: radius={radius} and steps={steps} must be at least 1.")
    task.eval()
    reach, pixels = radius / 255, (images.float() / 255).requires_grad_()

    def logits(x: Tensor) -> Tensor:
        # in float32 the gradient of a confident prediction is 0, which would hide that it can be attacked
        return task(task.backbone.normalizer(x))["label"].double()

    entropy = nn.CrossEntropyLoss(reduction="none")
    pgd = PGD(logits, entropy, 0, 1)
    pgd.fgsm.zero_thresh = 0.0  # for the same reason
    with torch.enable_grad():
        if method == "fgsm":
            moved = pgd.fgsm.perturb(pixels, reach, labels)
        else:
            moved = pgd.perturb(pixels, reach, 2.5 * reach / steps, steps, labels)
    return (moved.detach() * 255).round().clamp(0, 255).byte()


def check_label(task: VisionTask, command: str) -> None:
    """Raises `InputError` if the model has no label head."""
    if "label" not in task.heads:
        raise InputError(f"{command}: the model predicts {', '.join(task.heads)}; it needs a head of `label`.")


class Robustness(NamedTuple):
    """Accuracy of a dataset without and under attack, 0..1, and its number of images."""

    accuracy: float
    under_attack: float
    images: int


def accuracy_under_attack(
    task: VisionTask, batches: Iterable[Batch], radius: int = 8, method: Method = "pgd", steps: int = 10
) -> Robustness:
    """Attacks every labeled image of batches with `image` and `label`; see `attack`.

    Raises:
        InputError: As in `attack`, or no image has a label.
    """
    check_label(task.eval(), "attack")
    device, right = next(task.parameters()).device, []
    for batch in batches:
        if "label" not in batch:
            continue
        images, labels = batch["image"].to(device), batch["label"].to(device)
        if (known := labels != IGNORE_LABEL).any():
            images, labels = images[known], labels[known]
            both = (images, attack(task, images, labels, radius, method, steps))
            with torch.no_grad():
                right.append([(task(some)["label"].argmax(1) == labels).cpu() for some in both])
    if not right:
        raise InputError("attack: the dataset has no labels. Use one with classes.")
    plain, attacked = (torch.cat(parts).double() for parts in zip(*right, strict=True))
    return Robustness(float(plain.mean()), float(attacked.mean()), len(plain))


def draw_difference(image: np.ndarray, adversarial: np.ndarray, radius: int) -> np.ndarray:
    """Draws the change of an image around gray, amplified until it is visible: uint8 (H, W, 3)."""
    difference = adversarial.astype(np.float32) - image
    return (127.5 + difference * 127.5 / radius).round().clip(0, 255).astype(np.uint8)
