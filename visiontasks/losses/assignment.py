"""Assignment of the true objects of a picture to the locations of a detector."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from visiontasks.core.serialize import Configurable
from visiontasks.losses.locations import ANCHOR, Locations, iou_of, is_object, pairwise_iou


class Assigned(NamedTuple):
    """The object of each location.

    Attributes:
        index: Place of the object in the batch's rows, int64 (B, L); -1 for background.
        quality: How well the location shows it, 0..1: the target of the score, float (B, L).
    """

    index: Tensor
    quality: Tensor


class Assignment(Configurable, ABC):
    """Chooses the locations that learn each object."""

    @abstractmethod
    def __call__(self, found: Locations, target: Tensor) -> Assigned:
        """Assigns objects without a gradient.

        Args:
            found: The output.
            target: A batch of `ObjectsTarget`, float (B, M, 6 or more).
        """


class ATSS(Assignment):
    """Adaptive training sample selection (Zhang et al. 2020, algorithm 1), where every object keeps one location.

    The quality is the IoU of the predicted and the true box.

    Args:
        nearest: Candidates per level, nearest to the center of the object.
    """

    def __init__(self, nearest: int = 9) -> None:
        self.nearest = nearest

    @torch.no_grad()
    def __call__(self, found: Locations, target: Tensor) -> Assigned:
        real, boxes = is_object(target), target[..., :4].float()
        centers, strides = found.centers[0], found.strides[0]
        anchors = torch.cat([centers - ANCHOR / 2 * strides, centers + ANCHOR / 2 * strides], 1)
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        distance = ((middle[:, :, None] - centers) / strides).norm(dim=-1)
        candidate = torch.zeros_like(distance, dtype=torch.bool)
        for stride in strides[:, 0].unique():
            level = (strides[:, 0] == stride).nonzero().flatten()
            near = distance[..., level].topk(min(self.nearest, len(level)), largest=False).indices
            candidate.scatter_(2, level[near], True)
        overlap = pairwise_iou(boxes, anchors.expand(len(boxes), -1, -1))
        limit = _limit(overlap, candidate)
        chosen = candidate & (overlap >= limit) & _inside(centers, boxes)
        alone = ~chosen.any(2, keepdim=True)
        first = torch.zeros_like(chosen).scatter_(2, _nearest(distance, candidate, overlap), True)
        chosen = (chosen | (alone & first)) & real[..., None]
        index = _best(chosen, torch.where(alone & first, overlap + 1, overlap))
        return Assigned(index, iou_of(found.boxes.detach(), boxes, index))


class TaskAligned(Assignment):
    """Task-aligned assignment (Feng et al. 2021, section 3.2): locations whose score and box are both good.

    The quality is the alignment, scaled so that its maximum for each object is the highest IoU.

    Args:
        top: Locations per object.
        alpha: Exponent of the score.
        beta: Exponent of the IoU.
    """

    def __init__(self, top: int = 13, alpha: float = 1.0, beta: float = 6.0) -> None:
        self.top, self.alpha, self.beta = top, alpha, beta

    @torch.no_grad()
    def __call__(self, found: Locations, target: Tensor) -> Assigned:
        real, boxes = is_object(target), target[..., :4].float()
        labels = target[..., 4].long().clamp(min=0)
        scores = found.logits.detach().float().sigmoid().transpose(1, 2)
        scores = scores.gather(1, labels[..., None].expand(-1, -1, scores.shape[2]))
        overlap = pairwise_iou(boxes, found.boxes.detach())
        inside = _inside(found.centers[0], boxes) & real[..., None]
        aligned = torch.where(inside, scores**self.alpha * overlap**self.beta, 0)
        best = aligned.topk(min(self.top, aligned.shape[2]), dim=2).indices
        chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
        index = _best(chosen, overlap)
        scaled = aligned / aligned.amax(2, keepdim=True).clamp(min=1e-9)
        scaled = scaled * torch.where(inside, overlap, 0).amax(2, keepdim=True)
        quality = scaled.gather(1, index.clamp(min=0)[:, None])[:, 0]
        return Assigned(index, torch.where(index >= 0, quality, 0))


def _limit(overlap: Tensor, candidate: Tensor) -> Tensor:
    """Returns the mean plus the standard deviation of the candidates' overlaps, (B, M, 1)."""
    count = candidate.sum(2, keepdim=True)
    mean = (overlap * candidate).sum(2, keepdim=True) / count
    spread = ((overlap - mean).square() * candidate).sum(2, keepdim=True) / (count - 1).clamp(min=1)
    return mean + spread.sqrt()


def _inside(centers: Tensor, boxes: Tensor) -> Tensor:
    """Returns which locations, (L, 2), lie inside which boxes, (B, M, 4): bool (B, M, L)."""
    low, high = centers - boxes[:, :, None, :2], boxes[:, :, None, 2:] - centers
    return torch.minimum(low, high).amin(-1) > 0


def _nearest(distance: Tensor, candidate: Tensor, overlap: Tensor) -> Tensor:
    """Returns the candidate whose anchor overlaps most with each object, of equal ones the nearest: (B, M, 1)."""
    score = torch.where(candidate, overlap - 1e-6 * distance, -torch.inf)
    return score.argmax(2, keepdim=True)


def _best(chosen: Tensor, score: Tensor) -> Tensor:
    """Returns the object with the highest score among those that chose a location, -1 for none: int64 (B, L)."""
    best = torch.where(chosen, score, -1).max(1)
    return torch.where(best.values >= 0, best.indices, -1)
