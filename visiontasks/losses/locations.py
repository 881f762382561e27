"""The locations of a detector: the cells of the maps of its pyramid, each with a box."""

from typing import NamedTuple

import torch
from torch import Tensor

ANCHOR = 8  # side of a location's anchor in strides (Zhang et al. 2020, section 3)
FARTHEST = 8.0  # logarithm of the largest distance in strides


class Locations(NamedTuple):
    """The output of a detector, in 0..1 of the picture.

    Attributes:
        boxes: Float (B, L, 4), xyxy.
        centers: Float (B, L, 2), x and y.
        strides: Float (B, L, 2), in x and y.
        logits: Float (B, L, classes).
    """

    boxes: Tensor
    centers: Tensor
    strides: Tensor
    logits: Tensor

    @classmethod
    def of(cls, output: Tensor) -> "Locations":
        """Splits the output of a detection head, float (B, L, 8 + classes)."""
        return cls(output[..., :4], output[..., 4:6], output[..., 6:8], output[..., 8:])


def make_locations(logits: Tensor, distances: Tensor, stride: tuple[float, float]) -> Tensor:
    """Joins boxes, centers, strides and logits of the locations of one level.

    Args:
        logits: Float (B, classes, h, w).
        distances: Logarithms of the distances to the left, upper, right and lower side in strides, float (B, 4, h, w).
        stride: In x and y, in 0..1 of the picture.

    Returns:
        Float (B, h w, 8 + classes); see `Locations`.
    """
    height, width = logits.shape[-2:]
    y, x = (torch.arange(side, device=logits.device).float() + 0.5 for side in (height, width))
    cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], 2).reshape(1, -1, 2)
    strides = torch.stack([torch.full_like(cells[..., 0], part) for part in stride], 2).expand(logits.shape[0], -1, -1)
    centers = cells * strides
    far = distances.clamp(max=FARTHEST).exp().flatten(2).transpose(1, 2)
    boxes = torch.cat([centers - far[..., :2] * strides, centers + far[..., 2:] * strides], 2)
    return torch.cat([boxes, centers, strides, logits.flatten(2).transpose(1, 2)], 2)


def is_object(target: Tensor) -> Tensor:
    """Returns which rows of a batch are objects, neither crowds nor empty rows: bool (B, M)."""
    return (target[..., 4] >= 0) & (target[..., 5] == 0)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Computes the IoU of boxes xyxy, float (B, M, 4), with others, (B, L, 4): (B, M, L)."""
    first, second = boxes[:, :, None], others[:, None]
    inside = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(0)
    inside = inside.prod(-1)
    areas = [(part[..., 2:] - part[..., :2]).clamp(0).prod(-1) for part in (first, second)]
    return inside / (areas[0] + areas[1] - inside).clamp(min=1e-9)


def iou_of(boxes: Tensor, true: Tensor, index: Tensor) -> Tensor:
    """Computes the IoU of each location's box, float (B, L, 4), with its object; 0 for background: (B, L)."""
    own = true.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, 4))
    inside = (torch.minimum(own[..., 2:], boxes[..., 2:]) - torch.maximum(own[..., :2], boxes[..., :2])).clamp(0)
    inside = inside.prod(-1)
    areas = [(part[..., 2:] - part[..., :2]).clamp(0).prod(-1) for part in (own, boxes)]
    return torch.where(index >= 0, inside / (areas[0] + areas[1] - inside).clamp(min=1e-9), 0)


def in_crowd(centers: Tensor, target: Tensor) -> Tensor:
    """Returns which locations, (B, L, 2), lie in a crowd: bool (B, L)."""
    low, high = target[:, None, :, :2], target[:, None, :, 2:4]
    inside = ((centers[:, :, None] >= low) & (centers[:, :, None] <= high)).all(-1)
    return (inside & (target[:, None, :, 5] == 1)).any(-1)
