"""Classes of regions of images: of boxes, or of the pixels of a class."""

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.doctor.suspects import Doubtful, doubtful_classes

MAPS = (3, 4, 5, 6)  # strides 8, 16 and 32, and the final map
MOST = 20_000  # regions; more take too much memory and time


class Regions:
    """Gathers the mean features and the class of regions, and finds those that look like another class."""

    def __init__(self) -> None:
        self.design: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.count = self.given = 0

    @property
    def part(self) -> str:
        """How many regions are left out, as the end of a sentence; empty if none is."""
        return f"; {self.count:,} of {self.given:,} regions were compared" if self.count < self.given else ""

    def add(self, design: Tensor, labels: Tensor) -> None:
        """Adds regions, float (N, D) with classes int64 (N,), up to a limit."""
        left = MOST - self.count
        self.design.append(design[:left])
        self.labels.append(labels[:left])
        self.count += len(labels[:left])
        self.given += len(labels)

    def doubtful(self, classes: int) -> list[Doubtful]:
        """Returns the regions that look like another class; features have equal weights."""
        if not self.count:
            return []
        design = torch.cat(self.design)
        design = (design - design.mean(0)) / design.std(0).clamp(min=1e-6)
        return doubtful_classes(design, torch.cat(self.labels), classes)


def mean_in_boxes(features: list[Tensor], boxes: Tensor) -> Tensor:
    """Averages the maps (C, h, w) of one image over boxes xyxy in 0..1, float (N, 4): float (N, D)."""
    parts = []
    for part in features:
        height, width = part.shape[-2:]
        rows, columns = _overlap(boxes[:, 1::2], height), _overlap(boxes[:, ::2], width)
        parts.append(torch.einsum("nh,nw,chw->nc", rows, columns, part))
    return torch.cat(parts, 1)


def mean_in_masks(features: list[Tensor], masks: Tensor) -> Tensor:
    """Averages the maps (C, h, w) of one image over masks, float (N, H, W): float (N, D)."""
    parts = []
    for part in features:
        weight = F.interpolate(masks[None], part.shape[-2:], mode="area")[0].flatten(1)
        parts.append(weight @ part.flatten(1).T / weight.sum(1, keepdim=True).clamp(min=1e-9))
    return torch.cat(parts, 1)


def _overlap(ends: Tensor, cells: int) -> Tensor:
    """Returns the share of each interval, (N, 2) in 0..1, that lies in each of a number of equal cells: (N, cells)."""
    edges = torch.linspace(0, 1, cells + 1)
    inside = torch.minimum(ends[:, 1:], edges[1:]) - torch.maximum(ends[:, :1], edges[:-1])
    inside = inside.clamp(min=0)
    return inside / inside.sum(1, keepdim=True).clamp(min=1e-9)
