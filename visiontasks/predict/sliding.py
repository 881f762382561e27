"""Sliding-window detection: applies a network trained on windows to whole images, its dense layers as convolutions.

Courses introduce detection in this way: a coarse grid of places, one object per window, several scales, and non-maximum
suppression. For accurate boxes use a detector that learns from whole images, such as torchvision's
`fasterrcnn_resnet50_fpn_v2` or `retinanet_resnet50_fpn_v2`.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width
from visiontasks.core.resize import interpolation
from visiontasks.core.sample import FILL
from visiontasks.data.datasets.windows import BACKGROUND
from visiontasks.models import BoxHead, LabelHead
from visiontasks.models.heads.base import Head
from visiontasks.tasks import VisionTask

SCALES = (0.6, 0.85, 1.2, 1.7)


class Detector:
    """Finds all objects in an image with a model of label and box that was trained on `Windows`.

    Each window of the model's `image_size` predicts the object near its center. The windows are one stride of the
    backbone apart, in the image at several scales.

    The outputs equal those of each window alone only if the backbone neither pads (around a window it sees pixels of
    the image where it saw padding in training) nor averages over the whole image (squeeze and excitation, attention).

    Args:
        task: The trained model, in eval mode.
        scales: Factors on the height and width of the image; 0.5 finds objects of twice the size.
        threshold: Minimum probability of the class of a box, 0..1.
        iou: Of two boxes of one class with a higher IoU than this, 0..1, the one with the lower score is removed.

    Raises:
        InputError: The model has no `background` or box, or is not a convolutional network; or a number is invalid.
    """

    def __init__(
        self, task: VisionTask, scales: Sequence[float] = SCALES, threshold: float = 0.5, iou: float = 0.4
    ) -> None:
        if not scales or min(scales) <= 0 or not 0 <= threshold <= 1 or not 0 <= iou <= 1:
            raise InputError(
                f"scales={list(scales)} must be positive numbers, threshold={threshold} and iou={iou} in 0..1."
            )
        self.class_names: list[str] = task.spec["class_names"]
        if BACKGROUND not in self.class_names or set(task.heads) != {"label", "bbox"}:
            raise InputError(
                f"the model predicts {', '.join(task.heads)} of {self.class_names}; expected label and bbox, with a "
                f"class {BACKGROUND!r}. Train it on `Windows`: configs/course/sliding.yaml."
            )
        height, width = height_width(task.spec["image_size"])
        if height != width:
            raise InputError(f"image_size: {height} x {width} is not square, as `Windows` are. Train on squares.")
        self.scales, self.threshold, self.iou, self.window = scales, threshold, iou, height
        self.backbone = task.backbone
        self.stride, cells = _windows_of(task)
        self.heads = {key: cast(Head, task.heads[key]) for key in ("label", "bbox")}
        self.layers = nn.ModuleDict({key: fully_convolutional(head, *cells) for key, head in self.heads.items()}).eval()

    @torch.inference_mode()
    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Computes the outputs of both heads for all windows of images, uint8 (B, 3, H, W).

        Returns:
            Float (B, outputs, rows, columns) by key; window (i, j) has its top left corner at (i, j) times the stride.
        """
        final = self.backbone(images.contiguous(memory_format=torch.channels_last))[-1]
        return {key: layers(final) for key, layers in self.layers.items()}

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Finds the objects in an image, uint8 (H, W, 3), RGB.

        Returns:
            `boxes`, float32 (N, 4), xyxy in pixels of the image, `labels`, int64 (N,), and `scores`, float32 (N,),
            0..1, in descending order.
        """
        found = [self._at_scale(image, scale) for scale in self.scales]
        boxes, labels, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = batched_nms(boxes, scores, labels, self.iou)
        objects = {"boxes": boxes, "labels": labels, "scores": scores}
        return {name: values[kept].cpu().numpy() for name, values in objects.items()}

    def _at_scale(self, image: np.ndarray, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Returns boxes in pixels of the image, labels and scores of the windows with an object, at one scale."""
        height, width = image.shape[:2]
        tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
        if (tall, wide) != (height, width):
            image = cv2.resize(image, (wide, tall), interpolation=interpolation(height, width, tall, wide))
        canvas, margin = self.canvas(image)
        device = next(self.backbone.parameters()).device
        maps = self.maps(torch.from_numpy(canvas).permute(2, 0, 1)[None].to(device))
        outputs = {key: output[0].flatten(1).T for key, output in maps.items()}  # one row per window
        probabilities = self.heads["label"].postprocess(outputs["label"])
        probabilities[:, self.class_names.index(BACKGROUND)] = -1
        scores, labels = probabilities.max(1)
        windows = torch.nonzero(scores >= self.threshold)[:, 0]
        columns = maps["label"].shape[3]
        corners = torch.stack([windows % columns, windows // columns], 1) * self.stride - margin
        boxes = self.heads["bbox"].postprocess(outputs["bbox"][windows])[:, :4] * self.window + corners.repeat(1, 2)
        ends = boxes.new_tensor([wide, tall] * 2)
        boxes = torch.minimum(boxes.clamp(min=0), ends) * (boxes.new_tensor([width, height] * 2) / ends)
        return boxes, labels[windows], scores[windows]

    def canvas(self, image: np.ndarray) -> tuple[np.ndarray, int]:
        """Pads an image, uint8 (H, W, 3), with gray, so that each square of one stride has a window around its center.

        Returns:
            uint8 (h, w, 3), where h and w are the window plus a whole number of strides, and the padding on the left
            and at the top in pixels; right and bottom may have more.
        """
        margin = max(0, (self.window - self.stride) // 2)
        steps = [max(0, math.ceil((side + 2 * margin - self.window) / self.stride)) for side in image.shape[:2]]
        tall, wide = (count * self.stride + self.window for count in steps)
        canvas = np.full((tall, wide, 3), FILL, np.uint8)
        canvas[margin : margin + image.shape[0], margin : margin + image.shape[1]] = image
        return canvas, margin


def _windows_of(task: VisionTask) -> tuple[int, tuple[int, int]]:
    """Returns the stride of the backbone in pixels, and the rows and columns of the final map of one window.

    Raises:
        InputError: The map of an image that is larger by strides does not grow by as many cells.
    """
    backbone = task.backbone
    stride = int(backbone.net.feature_info[-1]["reduction"])
    height, width = height_width(task.spec["image_size"])
    device = next(backbone.parameters()).device
    sizes = [(height, width), (height + stride, width + 2 * stride)]
    try:
        with torch.inference_mode():
            maps = [backbone(torch.zeros(1, 3, *pair, dtype=torch.uint8, device=device))[-1] for pair in sizes]
        (rows, columns), larger = (tuple(final.shape[2:]) for final in maps)
        fixed = hasattr(backbone.net, "set_input_size")  # a transformer may interpolate its position embedding
        slides = larger == (rows + 1, columns + 2) and not fixed
    except (InputError, RuntimeError):
        slides = False
    if not slides:
        raise InputError(
            f"backbone: {backbone.name} cannot be slid over an image: beyond {height} x {width} pixels its map does "
            f"not grow by a cell every {stride} pixels. Train a convolutional network, without `normalization: zca`."
        )
    return stride, (rows, columns)


class _Pools(nn.Module):
    """The mean, maximum or both of each window of rows x columns cells: (B, C, H, W) to (B, C or 2 C, ...)."""

    def __init__(self, pool: str, rows: int, columns: int) -> None:
        super().__init__()
        self.pool, self.cells = pool, (rows, columns)

    def forward(self, x: Tensor) -> Tensor:
        pools = {"avg": [F.avg_pool2d], "max": [F.max_pool2d], "avgmax": [F.avg_pool2d, F.max_pool2d]}[self.pool]
        return torch.cat([pool(x, self.cells, 1) for pool in pools], 1)


def fully_convolutional(head: Head, rows: int, columns: int) -> nn.Module:
    """Converts a trained head to convolutions, which compute its output for each window of a map of any size.

    A `LabelHead` becomes the pooling of each window (for `flatten` the first dense layer has the window as its kernel)
    and 1x1 convolutions, without dropout. A `BoxHead` averages a window to its grid, which is linear, and applies a
    linear layer: together one kernel of rows x columns. Its optional 3x3 convolution sees the cells around a window,
    where it saw zeros in training.

    Returns:
        A module from float (B, C, H, W) to (B, outputs, H - rows + 1, W - columns + 1), where `rows` and `columns` are
        those of the final map of one window.

    Raises:
        InputError: The head is of another kind.
    """
    head = deepcopy(head).eval()
    if isinstance(head, BoxHead):
        basis = torch.eye(rows * columns, device=head.regressor.weight.device).view(-1, 1, rows, columns)
        means = F.adaptive_avg_pool2d(basis, head.grid).flatten(1)  # weight of each cell in each place of the grid
        weight = head.regressor.weight.unflatten(1, (-1, head.grid**2)) @ means.T / head.grid**2
        return nn.Sequential(head.hidden, _convolution(weight.flatten(1), head.regressor.bias, rows, columns))
    if not isinstance(head, LabelHead) or not isinstance(head.classifier, nn.Linear):
        raise InputError(
            f"{type(head).__name__}: only a LabelHead without `distance` and a BoxHead can slide. Train with these."
        )
    dense = [layer for layer in head.hidden if not isinstance(layer, nn.Dropout)] + [head.classifier]
    layers: list[nn.Module] = [] if head.pool == "flatten" else [_Pools(head.pool, rows, columns)]
    kernel = (1, 1) if layers else (rows, columns)
    for layer in dense:
        if isinstance(layer, nn.Linear):
            layer, kernel = _convolution(layer.weight, layer.bias, *kernel), (1, 1)
        layers.append(layer)
    return nn.Sequential(*layers)


def _convolution(weight: Tensor, bias: Tensor, rows: int, columns: int) -> nn.Conv2d:
    """Builds the convolution whose kernel is the weight of a dense layer, float (outputs, C * rows * columns)."""
    kernel = weight.detach().unflatten(1, (-1, rows, columns))
    layer = nn.Conv2d(kernel.shape[1], len(kernel), (rows, columns), device=kernel.device)
    layer.weight.data, layer.bias = kernel.clone(), nn.Parameter(bias.detach().clone())
    return layer
