"""Detection head: any number of objects per image."""

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.losses import DetectionLoss, Loss
from visiontasks.losses.locations import ANCHOR, Locations, make_locations
from visiontasks.models.closed_form import Solver
from visiontasks.models.heads.base import Head
from visiontasks.models.heads.labels import best_threshold
from visiontasks.models.location_solver import LocationSolver, resized
from visiontasks.models.necks import FeaturePyramid
from visiontasks.targets.coco import MOST, ranked

GROUPS = 8

ClosedFormPart = Literal["classes", "boxes"]


class DetectionHead(Head):
    """A feature pyramid, and at each of its locations a logit per class and the distances to the sides of a box.

    Two towers of 3x3 convolutions with group norm, shared by all levels, compute them (Tian et al. 2019, section 3).
    A linear shortcut from the maps of the backbone is added; `ClosedFormStart` solves it.

    Args:
        strides: Strides of the pyramid, each twice the one before.
        width: Channels of the pyramid and the towers.
        depth: Convolutions of a tower.
        closed_form: What the closed form solves: the `classes` alone, or the `boxes` too.
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
        closed_form: ClosedFormPart = "boxes",
        loss: Loss = DetectionLoss(),
    ) -> None:
        super().__init__()
        if not num_classes:
            raise InputError("DetectionHead: the data has no classes of objects. Use a dataset with `objects: all`.")
        if (
            not strides
            or strides != [strides[0] << level for level in range(len(strides))]
            or strides[0] & (strides[0] - 1)
        ):
            raise InputError(f"DetectionHead: strides={strides} must double from one to the next, such as [8, 16, 32].")
        if width < GROUPS or width % GROUPS or depth < 0:
            raise InputError(
                f"DetectionHead: width={width} must be a multiple of {GROUPS}, and depth={depth} 0 or more."
            )
        self.levels = [stride.bit_length() - 1 for stride in strides]
        if missing := [
            stride
            for stride, level in zip(strides, self.levels, strict=True)
            if not any(channels[:-1][level : level + 1])
        ]:
            raise InputError(f"backbone.name: no map of stride {missing[0]}. Use a network with a pyramid.")
        self.num_classes, self.criterion = num_classes, self.check_loss(loss, "objects")
        self.strides, self.solves_boxes = strides, closed_form == "boxes"
        own = [channels[level] for level in self.levels]
        self.neck = FeaturePyramid([*own[:-1], own[-1] + channels[-1]], width)
        self.class_tower, self.box_tower = _tower(width, depth), _tower(width, depth)
        self.class_layer = nn.Conv2d(width, num_classes, 3, padding=1)
        self.box_layer = nn.Conv2d(width, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(strides)))
        self.shortcuts: Any = nn.ModuleList(nn.Conv2d(count, len(own) * (num_classes + 4), 1) for count in own)
        starts = ((self.class_layer, -math.log(99)), (self.box_layer, math.log(ANCHOR / 2)))
        for layer, start in starts:  # scores of 0.01 (Lin et al. 2017, section 3.3), and boxes as large as anchors
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, start)  # ty: ignore[invalid-argument-type]
        for layer in self.shortcuts:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.thresholds = nn.Buffer(torch.full((num_classes,), 0.3))
        self.trivial = nn.Buffer(torch.zeros(1 + MOST, 4 + num_classes))

    def setup(self, summary: dict[str, Any]) -> None:
        self.trivial.copy_(torch.from_numpy(self.target.baseline(summary)))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes `Locations`, float (B, L, 8 + classes)."""
        return self.locate(features)[-1]

    def locate(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Computes the maps of the pyramid, those of the box tower, and `Locations`."""
        maps, (height, width) = self.maps(features), features[0].shape[-2:]
        levels = self.neck([*maps[:-1], torch.cat([maps[-1], features[-1]], 1)])
        short = self.shortcut(maps)
        towers = [self.box_tower(level) for level in levels]
        found = []
        for stride, scale, level, tower, extra in zip(self.strides, self.scales, levels, towers, short, strict=True):
            logits = self.class_layer(self.class_tower(level)) + extra[:, : self.num_classes]
            distances = scale * self.box_layer(tower) + extra[:, self.num_classes :]
            found.append(make_locations(logits.float(), distances.float(), (stride / width, stride / height)))
        return levels, towers, torch.cat(found, 1)

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """Returns the maps of the backbone, the finest first."""
        return [features[level] for level in self.levels]

    def shortcut(self, maps: list[Tensor]) -> list[Tensor]:
        """Computes the linear part of each level, (B, classes + 4, h, w); resizing after the layer is cheaper."""
        parts = [layer(part).chunk(len(maps), 1) for layer, part in zip(self.shortcuts, maps, strict=True)]
        sides = [part.shape[-2:] for part in maps]
        every = [[resized(part[level], side) for part in parts] for level, side in enumerate(sides)]
        return [torch.stack(one).sum(0) for one in every]

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes the thresholds and the candidates, float (B, 1 + L, 4 + classes)."""
        found = Locations.of(output.float())
        rows = torch.cat([found.boxes, found.logits.sigmoid()], 2)
        first = torch.cat([self.thresholds.new_zeros(4), self.thresholds]).float()
        return torch.cat([first.expand(rows.shape[0], 1, -1), rows], 1)

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.zeros(0, MOST + self.num_classes, 7)  # no rows: the figures of training batches would take long

    def baseline(self) -> Tensor:
        return self.trivial

    def explained(self, output: Tensor, of: Tensor) -> Tensor:
        """Lists the logits of all locations, those of one location together."""
        return self.located(output).logits.flatten(1)

    def column(self, output: Tensor) -> int:
        return int(self.explained(output, output).argmax())

    def located(self, output: Tensor) -> Locations:
        """Returns the locations of an output."""
        return Locations.of(output)

    def object_column(self, output: Tensor, label: int, box: np.ndarray) -> int:
        far = (self.located(output).boxes[0].clamp(0, 1) - torch.from_numpy(box).to(output)).abs().amax(1)
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


def _tower(width: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
