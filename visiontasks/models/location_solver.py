"""The closed form of a detection head."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.losses.assignment import ATSS
from visiontasks.losses.locations import Locations, in_crowd, make_locations
from visiontasks.models.closed_form import Gather, Solver
from visiontasks.models.heads.labels import fit_platt
from visiontasks.models.location_ridge import FOLDS, NormalEquations

SAMPLED = 128  # background locations per image and level that calibrate the closed form


class LocationSolver(Solver):
    """Ridge regression of the classes, and perhaps of the boxes, at each location; the last parts of a shortcut."""

    def __init__(self, head: Any) -> None:
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
            make_locations(part[:, 4:], part[:, :4], (stride / width, stride / height))
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


def resized(part: Tensor, side: Any) -> Tensor:
    """Resizes a map bilinearly to a height and width."""
    return part if part.shape[-2:] == side else F.interpolate(part, side, mode="bilinear", align_corners=False)
