"""Explains predictions by the regions of an image that they depend on."""

from typing import Literal, cast

import matplotlib
import numpy as np
import torch
from captum.attr import Occlusion
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame, corners
from visiontasks.core.objects import Objects, take
from visiontasks.models import Head
from visiontasks.targets import names_of
from visiontasks.tasks import VisionTask

Method = Literal["gradcam", "occlusion"]
GRAY = 0.5


def explain(
    task: VisionTask,
    image: Tensor,
    key: str | None = None,
    target: int | None = None,
    method: Method = "gradcam",
    window: int | None = None,
    place: int = 0,
) -> Tensor:
    """Computes how much each pixel of an image contributes to a prediction.

    The explained score is the logit of a class; for a mask, the mean logit of the class over the pixels predicted as it
    (Vinogradova, Dibrov and Myers 2020, eq. 2); for a box, its four logits, whose absolute weights are added; for
    objects, the logit of one of them.

    Args:
        task: A trained model; left in eval mode.
        image: uint8 (1, 3, H, W), as the network sees it.
        key: The head to explain: `label`, `bbox`, `mask` or `objects`; by default the first one of the model.
        target: The class; by default the predicted one, for a mask the most frequent one except the first, for objects
            any.
        method: `gradcam` or `occlusion`, the drop of the score when a gray window covers a place (Zeiler and Fergus
            2014, section 4.2). For a label or a box, `gradcam` weighs the channels of the final map by their mean
            gradients (Selvaraju et al. 2017, eq. 1 and 2). For a mask or an object, it adds the products of values and
            gradients (Draelos and Carin 2020, eq. 6) of all maps that the head reads, because a decoder sees small
            things in the fine maps, and its final map can speak against them everywhere.
        window: Side of the occluding window in pixels, moved by half of it; by default an eighth of the image.
        place: Which of the objects, 0 for the best one.

    Returns:
        Float (H, W), not negative: the support for the class, or for a box the influence on it. It is 0 everywhere if
        no place supports the class, or there is no such object.

    Raises:
        InputError: The model has no such head or class.
    """
    score = _Score(task.eval(), image, key)
    pixels = image.float() / 255
    found = torch.zeros(image.shape[-2:], device=image.device)
    for column in score.columns(target, place):
        if method == "gradcam":
            part = score.gradcam(column)
        else:
            side = window or max(2, min(image.shape[-2:]) // 8)
            if not 0 < side <= min(image.shape[-2:]):
                raise InputError(f"--window {side}: expected 1 to {min(image.shape[-2:])} pixels.")
            shape, stride = (3, side, side), (3, max(1, side // 2), max(1, side // 2))
            with torch.no_grad():
                drops = Occlusion(score).attribute(pixels, shape, stride, GRAY, column, perturbations_per_eval=16)
            part = drops[0].mean(0)
        found += part.clamp(min=0) if score.signed else part.abs()
    return found


class _Score(nn.Module):
    """The explained scores of images: float (B, 3, H, W) in 0..1 to float (B, columns)."""

    def __init__(self, task: VisionTask, image: Tensor, key: str | None) -> None:
        super().__init__()
        self.task, self.key = task, key or next(iter(task.heads))
        if self.key not in task.heads:
            raise InputError(f"--key {key}: the model predicts {', '.join(task.heads)}.")
        self.head = cast(Head, task.heads[self.key])
        with torch.no_grad():
            self.features = task.backbone(image, task.needs_pyramid)
            self.output = self.head(self.features)
        self.size, self.signed = image.shape[-2:], self.head.column(self.output) is not None

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.task.backbone(self.task.backbone.normalizer(pixels), self.task.needs_pyramid)
        return self.head.explained(self.head(features), self.output)

    @torch.enable_grad()
    def gradcam(self, column: int) -> Tensor:
        """Computes how much each pixel adds to one column, float (H, W); negative where it speaks against it."""
        features = [level.detach().requires_grad_() for level in self.features]
        value = self.head.explained(self.head(features), self.output)[0, column]
        gradients = torch.autograd.grad(value, features, allow_unused=True)
        total = torch.zeros(self.size, device=value.device)
        for level, gradient in zip(features, gradients, strict=True):
            if gradient is None or not level.shape[1]:
                continue
            local = self.head.target.dense or self.head.target.columns
            weights = gradient if local else gradient.mean((2, 3), keepdim=True)
            part = (weights * level).sum(1, keepdim=True).detach()
            share = part[0, 0].numel() / total.numel()  # a place of a coarse map is many pixels
            total += share * F.interpolate(part, self.size, mode="bilinear", align_corners=False)[0, 0]
        return total

    def columns(self, target: int | None, place: int) -> list[int]:
        if self.head.target.columns:
            chosen = self._object(target, place)
            return [self.head.object_column(self.output, *one) for one in chosen]
        count, predicted = self.output.shape[1], self.head.column(self.output)
        if predicted is None:
            return list(range(count))
        if target is not None and not 0 <= target < count:
            raise InputError(f"class {target}: the model has 0 to {count - 1}.")
        return [predicted if target is None else target]

    def _object(self, target: int | None, place: int) -> list[tuple[int, np.ndarray]]:
        """Returns the class and the box, 0..1 of the picture, of the chosen object, if there is one."""
        height, width = self.size
        output = self.head.postprocess(self.output)[0].detach().float().cpu().numpy()
        frame = Frame(height, width, (height, width))
        found = self.head.target.prediction(output, frame, names_of(self.task.spec, self.key))
        chosen = choose_object(found["objects"], target, place)
        return list(zip(chosen["labels"].tolist(), chosen["boxes"] / corners(frame.size), strict=True))


def choose_object(objects: Objects, target: int | None, place: int) -> Objects:
    """Returns the object at a place, the best first, of a class or of any: one, or none if there are not that many."""
    known = take(objects, slice(None) if target is None else objects["labels"] == target)
    return take(known, slice(place, place + 1))


def draw_heat(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Draws weights (H, W), not negative, over an image as a color map: uint8 (H, W, 3)."""
    colors = matplotlib.colormaps["inferno"](weights / max(float(weights.max()), 1e-12))[:, :, :3] * 255
    return ((image.astype(np.float32) + colors) / 2).round().astype(np.uint8)
