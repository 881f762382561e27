"""Objects that the closed form of a detector finds in images that it has not seen."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from visiontasks.core.objects import Objects
from visiontasks.losses.locations import make_locations
from visiontasks.models import DetectionHead
from visiontasks.models.heads.labels import fit_platt
from visiontasks.models.location_ridge import FOLDS
from visiontasks.models.location_solver import LocationSolver, resized
from visiontasks.targets.candidates import best_candidates

CALIBRATING = 300  # images whose background calibrates the scores; more take memory


class LeftOutObjects:
    """Gathers images, divides them into five parts, and finds the objects of each part by the four others.

    Args:
        channels: Channels of each feature map.
        classes: Number of classes.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        self.head = DetectionHead(list(channels), classes)
        self.solver = LocationSolver(self.head)
        self.maps: list[list[Tensor]] = []  # of each image, half precision
        self.side = (0, 0)

    def add(self, features: list[Tensor], target: Tensor) -> None:
        """Adds a batch of objects, float (B, M, 6 or more); see `ObjectsTarget`."""
        start = len(self.maps)
        self.solver.add(features, target, torch.arange(start, start + len(target)))
        self.maps += [[part.half() for part in parts] for parts in zip(*self.head.maps(features), strict=True)]
        self.side = (int(features[0].shape[-2]), int(features[0].shape[-1]))
        for samples in self.solver.samples:
            del samples[CALIBRATING:]

    def find(self) -> list[Objects]:
        """Returns the objects of each image, the best first; see `best_candidates`."""
        levels = [self._solve(level) for level in range(len(self.head.levels))]
        return [self._image(number, levels) for number in range(len(self.maps))]

    def _solve(self, level: int) -> tuple[Tensor, Tensor]:
        """Returns the weights of each part for the logits of the classes and for the sides: float (5, D + 1, ...)."""
        weight, sides = (self.solver.classes[level].solve().left_out, self.solver.boxes[level].solve().left_out)
        sample, classes = torch.cat(self.solver.samples[level]).double(), self.head.num_classes
        count, fold, wanted = sample[:, 0], sample[:, 1].long(), sample[:, 2 : 2 + classes]
        rows = torch.cat([sample[:, 2 + classes :], torch.ones_like(sample[:, :1])], 1)
        outputs = _by_fold(rows, weight, fold)
        for label in range(classes):
            slope, shift = fit_platt(outputs[:, label], wanted[:, label], count)
            weight[..., label] *= slope
            weight[:, -1, label] += shift
        return weight.float(), sides.float()

    def _image(self, number: int, levels: list[tuple[Tensor, Tensor]]) -> Objects:
        maps, (height, width) = [part.float()[None] for part in self.maps[number]], self.side
        found = [np.zeros((1, 4 + self.head.num_classes), np.float32)]
        for own, stride, solved in zip(maps, self.head.strides, levels, strict=True):
            rows = torch.cat([resized(part, own.shape[-2:]) for part in maps], 1)
            rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
            logits, sides = (torch.einsum("bdhw,dt->bthw", rows, part[number % FOLDS]) for part in solved)
            places = make_locations(logits, sides, (stride / width, stride / height))[0]
            found.append(torch.cat([places[:, :4], places[:, 8:].sigmoid()], 1).numpy())
        return best_candidates(np.concatenate(found))


def _by_fold(rows: Tensor, weight: Tensor, fold: Tensor) -> Tensor:
    """Multiplies each row, (N, D), by the weight of its part, (5, D, T): (N, T)."""
    outputs = rows.new_empty(len(rows), weight.shape[2])
    for part in range(FOLDS):
        outputs[fold == part] = rows[fold == part] @ weight[part]
    return outputs
