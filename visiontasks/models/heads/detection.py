"""Detection head: any number of objects per image."""

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.losses import DetectionLoss, Loss
from visiontasks.losses.assignment import ANCHOR, ATSS, Locations
from visiontasks.losses.detection import in_crowd
from visiontasks.models.closed_form import Gather, Solver
from visiontasks.models.heads.base import Head
from visiontasks.models.heads.labels import best_threshold, fit_platt
from visiontasks.models.location_ridge import FOLDS, NormalEquations
from visiontasks.models.necks import FeaturePyramid
from visiontasks.targets.coco import MOST, ranked

FARTHEST = 8.0  # logarithm of the largest distance in strides
SAMPLED = 128  # background locations per image and level that calibrate the closed form
GROUPS = 8


class DetectionHead(Head):
    """A feature pyramid, and at each of its locations a logit per class and the distances to the sides of a box.

    Two towers of 3x3 convolutions with group norm, shared by all levels, compute them (Tian et al. 2019, section 3).
    A linear shortcut from the maps of the backbone is added; `ClosedFormStart` solves it.

    Args:
        strides: Strides of the pyramid, each twice the one before.
        width: Channels of the pyramid and the towers.
        depth: Convolutions of a tower.
        closed_form: What the closed form solves: the `classes`, or the `boxes` too.
        loss: Loss of objects.

    Raises:
        InputError: The backbone has no map of a stride, or the data has no classes.
    """

    key, needs_pyramid = "objects", True

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        strides: list[int] = [8, 16, 32],  # noqa: B006 - never changed, and jsonargparse shows it
        width: int = 64,
        depth: int = 2,
        closed_form: Literal["classes", "boxes"] = "classes",
        loss: Loss = DetectionLoss(),
    ) -> None:
        super().__init__()
        if not num_classes:
            raise InputError("DetectionHead: the data has no classes of objects. Use a dataset with `objects: all`.")
        self.levels = [stride.bit_length() - 1 for stride in strides]
        if missing := [stride for stride, level in zip(strides, self.levels) if not channels[level]]:
            raise InputError(f"backbone.name: no map of stride {missing[0]}. Use a network with a pyramid.")
        self.num_classes, self.criterion = num_classes, self.check_loss(loss, "objects")
        self.strides, self.solves_boxes = strides, closed_form == "boxes"
        own = [channels[level] for level in self.levels]
        self.neck = FeaturePyramid([*own[:-1], own[-1] + channels[-1]], width)
        self.class_tower, self.box_tower = _tower(width, depth), _tower(width, depth)
        self.class_layer = nn.Conv2d(width, num_classes, 3, padding=1)
        self.box_layer = nn.Conv2d(width, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(strides)))
        self.shortcuts = nn.ModuleList(nn.Conv2d(count, len(own) * (num_classes + 4), 1) for count in own)
        for layer in (self.class_layer, self.box_layer):
            nn.init.normal_(layer.weight, std=0.01)
        for layer in self.shortcuts:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(
            self.class_layer.bias, -math.log(99)
        )  # scores of 0.01 at first (Lin et al. 2017, section 3.3)
        nn.init.constant_(self.box_layer.bias, math.log(ANCHOR / 2))
        self.thresholds = nn.Buffer(torch.full((num_classes,), 0.3))
        self.trivial = nn.Buffer(torch.zeros(1 + MOST, 4 + num_classes))

    def setup(self, summary: dict[str, Any]) -> None:
        self.trivial.copy_(torch.from_numpy(self.target.baseline(summary)))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes `Locations`, float (B, L, 8 + classes)."""
        maps, (height, width) = self.maps(features), features[0].shape[-2:]
        levels = self.neck([*maps[:-1], torch.cat([maps[-1], features[-1]], 1)])
        short = self.shortcut(maps)
        found = []
        for stride, scale, level, extra in zip(self.strides, self.scales, levels, short, strict=True):
            logits = self.class_layer(self.class_tower(level)) + extra[:, : self.num_classes]
            distances = scale * self.box_layer(self.box_tower(level)) + extra[:, self.num_classes :]
            found.append(_locations(logits.float(), distances.float(), (stride / width, stride / height)))
        return torch.cat(found, 1)

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """Returns the maps of the backbone, the finest first."""
        return [features[level] for level in self.levels]

    def shortcut(self, maps: list[Tensor]) -> list[Tensor]:
        """Computes the linear part of each level, (B, classes + 4, h, w); resizing after the layer is cheaper."""
        parts = [layer(part).chunk(len(maps), 1) for layer, part in zip(self.shortcuts, maps, strict=True)]
        sides = [part.shape[-2:] for part in maps]
        return [sum(resized(part[level], side) for part in parts) for level, side in enumerate(sides)]

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes the thresholds and the candidates, float (B, 1 + L, 4 + classes)."""
        found = Locations.of(output.float())
        rows = torch.cat([found.boxes, found.logits.sigmoid()], 2)
        first = torch.cat([self.thresholds.new_zeros(4), self.thresholds]).float()
        return torch.cat([first.expand(rows.shape[0], 1, -1), rows], 1)

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.zeros(0, MOST + self.num_classes, 5)

    def baseline(self) -> Tensor:
        return self.trivial

    def explained(self, output: Tensor, of: Tensor) -> Tensor:
        """Lists the logits of all locations, those of one location together."""
        return Locations.of(output).logits.flatten(1)

    def column(self, output: Tensor) -> int:
        return int(self.explained(output, output).argmax())

    def object_column(self, output: Tensor, label: int, box: np.ndarray) -> int:
        far = (Locations.of(output).boxes[0].clamp(0, 1) - torch.from_numpy(box).to(output)).abs().amax(1)
        return int(far.argmin()) * self.num_classes + label

    def calibrate(self, counts: np.ndarray) -> np.ndarray:
        """Chooses the threshold of each class; one that does not occur keeps its own."""
        counts = counts.copy()
        for label, found in enumerate(ranked(counts)):
            counted = ~found.ignored[:, 0, 0]
            best = best_threshold(found.score[counted], found.right[counted, 0, 0], found.true[:, 0].sum())
            if best is not None:
                self.thresholds[label] = best
        thresholds = self.thresholds.float().cpu().numpy()
        label = counts[:, :MOST, 0].astype(int)
        counts[:, :MOST, 4] = (label >= 0) & (counts[:, :MOST, 1] >= thresholds[label])
        return counts

    def solve_alone(self) -> None:
        self.solves_boxes = True

    def solver(self, samples: int) -> Solver:
        return LocationSolver(self)


class LocationSolver(Solver):
    """Ridge regression of the classes, and perhaps of the boxes, at each location; the last parts of a shortcut."""

    def __init__(self, head: DetectionHead) -> None:
        self.head, self.assign = head, ATSS()
        inputs = sum(layer.in_channels for layer in head.shortcuts)
        self.classes = [NormalEquations(inputs, head.num_classes) for _ in head.levels]
        self.boxes = [NormalEquations(inputs, 4) for _ in head.levels] if head.solves_boxes else []
        self.samples: list[list[Tensor]] = [[] for _ in head.levels]  # rows with the weight, the fold and the classes

    def add(self, features: list[Tensor], target: Tensor, index: Tensor) -> None:
        maps, (height, width) = self.head.maps(features), features[0].shape[-2:]
        target = target.to(maps[0].device)
        none = [part.new_zeros(len(part), self.head.num_classes + 4, *part.shape[-2:]) for part in maps]
        parts = [
            _locations(part[:, 4:], part[:, :4], (stride / width, stride / height))
            for part, stride in zip(none, self.head.strides, strict=True)
        ]
        found = Locations.of(torch.cat(parts, 1))
        assigned, crowd = self.assign(found, target).index, in_crowd(found.centers, target)
        start = 0
        for level, part in enumerate(maps):
            rows = torch.cat([resized(one, part.shape[-2:]) for one in maps], 1).flatten(2).transpose(1, 2)
            here = slice(start, start := start + rows.shape[1])
            for image, number in enumerate(index.tolist()):
                own = assigned[image, here]
                self._add_level(
                    level,
                    number,
                    rows[image],
                    own,
                    target[image],
                    Locations(*(one[image, here] for one in found)),
                    (own < 0) & crowd[image, here],
                )

    def _add_level(
        self, level: int, number: int, rows: Tensor, own: Tensor, target: Tensor, found: Locations, out: Tensor
    ) -> None:
        fold, taken = number % FOLDS, own >= 0
        labels = target[own.clamp(min=0), 4].long().clamp(min=0)
        wanted = F.one_hot(labels, self.head.num_classes) * taken[:, None]
        self.classes[level].add(fold, rows[~out], wanted[~out].to(rows))
        if self.boxes:
            boxes = target[own[taken], :4]
            far = torch.cat([found.centers[taken] - boxes[:, :2], boxes[:, 2:] - found.centers[taken]], 1)
            far = (far / found.strides[taken].repeat(1, 2)).clamp(min=1 / 16).log()
            self.boxes[level].add(fold, rows[taken], far)
        empty = (~taken & ~out).nonzero().flatten()
        picked = torch.randperm(len(empty), generator=torch.Generator().manual_seed(number))[:SAMPLED]
        kept = torch.cat([taken.nonzero().flatten(), empty[picked.to(empty.device)]])
        weight = torch.ones_like(kept, dtype=torch.float32)
        weight[taken.sum() :] = len(empty) / max(1, len(picked))
        extra = torch.stack([weight, torch.full_like(weight, fold)], 1)
        self.samples[level].append(torch.cat([extra, wanted[kept], rows[kept]], 1).float().cpu())

    @torch.no_grad()
    def solve(self, gather: Gather) -> dict[str, float]:
        """Sets the shortcuts; the towers then start at 0."""
        head, found = self.head, {}
        for level in range(len(head.levels)):
            equations = self.classes[level]
            equations.products = torch.stack(gather(equations.products)).sum(0)
            fit = equations.solve()
            found[f"strength_{head.strides[level]}"] = fit.strength
            sample = torch.cat(gather(torch.cat(self.samples[level]))).double()
            weight, fold = sample[:, 0], sample[:, 1].long()
            wanted, rows = sample[:, 2 : 2 + head.num_classes], sample[:, 2 + head.num_classes :]
            rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
            outputs = torch.empty_like(wanted)
            for part in range(FOLDS):
                outputs[fold == part] = rows[fold == part] @ fit.left_out[part]
            for label in range(head.num_classes):
                slope, shift = fit_platt(outputs[:, label], wanted[:, label], weight)
                self._set(level, label, slope * fit.weight[:, label], slope * fit.bias[label] + shift)
            if self.boxes:
                equations = self.boxes[level]
                equations.products = torch.stack(gather(equations.products)).sum(0)
                fit = equations.solve()
                for side in range(4):
                    self._set(level, head.num_classes + side, fit.weight[:, side], fit.bias[side])
        head.class_layer.bias.zero_()
        if self.boxes:
            head.box_layer.bias.zero_()
        return found

    def _set(self, level: int, output: int, weight: Tensor, bias: Tensor) -> None:
        row, start = level * (self.head.num_classes + 4) + output, 0
        for layer in self.head.shortcuts:
            layer.weight[row, :, 0, 0] = weight[start : (start := start + layer.in_channels)]
        self.head.shortcuts[level].bias[row] = bias


def _tower(width: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def resized(part: Tensor, side: Any) -> Tensor:
    """Resizes a map bilinearly to a height and width."""
    return part if part.shape[-2:] == side else F.interpolate(part, side, mode="bilinear", align_corners=False)


def _locations(logits: Tensor, distances: Tensor, stride: tuple[float, float]) -> Tensor:
    """Joins boxes, centers, strides and logits of the locations of one level, (B, h w, 8 + classes)."""
    height, width = logits.shape[-2:]
    y, x = (torch.arange(side, device=logits.device).float() + 0.5 for side in (height, width))
    cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], 2).reshape(1, -1, 2)
    strides = torch.stack([torch.full_like(cells[..., 0], part) for part in stride], 2).expand(logits.shape[0], -1, -1)
    centers = cells * strides
    far = distances.clamp(max=FARTHEST).exp().flatten(2).transpose(1, 2)
    boxes = torch.cat([centers - far[..., :2] * strides, centers + far[..., 2:] * strides], 2)
    return torch.cat([boxes, centers, strides, logits.flatten(2).transpose(1, 2)], 2)
