"""Missing, shifted and needless boxes, and boxes of a wrong class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.core.geometry import box_iou
from visiontasks.core.objects import Objects
from visiontasks.doctor.left_out_objects import LeftOutObjects
from visiontasks.doctor.noise import doubt_flags
from visiontasks.doctor.regions import MAPS, Regions, mean_in_boxes
from visiontasks.doctor.suspects import FEWEST, Check, Suspect

SAME, APART = 0.5, 0.1  # IoU of boxes that show one object, and of boxes that show two
BETWEEN = 0.2  # IoU with the box of another object from which a found box may show both
LEAST_SCORE = 0.02  # of an object that is found
SPREAD = 2 * 1.4826  # median deviations by which a right box may differ; 2 standard deviations
SURER = 2  # times the score at the place of the box that the score of the object beside it must have
LEAST_DOUBT = 0.02  # that there is an object without a box
FARTHEST = 0.4  # IoU with what is found below which a box may be shifted


class Given(NamedTuple):
    """A box of a set beside what is found in its image.

    Attributes:
        row: Number of the image.
        label: Its class.
        support: Score of the best object found at the same place.
        overlap: IoU with the best object found near it.
        score: Score of that object; 0 if there is none.
    """

    row: int
    label: int
    support: float
    overlap: float
    score: float


class Free(NamedTuple):
    """An object found where the set has no box: image, class, score, and box, xyxy in 0..1."""

    row: int
    label: int
    score: float
    box: np.ndarray


class ObjectErrors(Check):
    """Boxes of `objects` that differ from those found without the image."""

    what, needs_maps = "boxes", True

    def __init__(self, names: Sequence[str], channels: Sequence[int]) -> None:
        super().__init__(names, channels)
        self.found, self.regions = LeftOutObjects(channels, max(1, len(names))), Regions()
        self.rows: list[int] = []
        self.targets: list[np.ndarray] = []
        self.region_rows: list[int] = []
        self.random = torch.Generator().manual_seed(0)

    def add(self, features: list[Tensor], target: Tensor, rows: Tensor) -> None:
        target = target[..., :6].float()
        self.found.add(features, target)
        for number, row in enumerate(rows.tolist()):
            objects = target[number][(target[number, :, 4] >= 0) | (target[number, :, 5] > 0)]
            self.rows.append(row)
            self.targets.append(objects.numpy())
            own = objects[(objects[:, 5] == 0) & (objects[:, 4] >= 0)]
            self._add_regions([features[level][number] for level in MAPS], own, objects[:, :4], row)

    def _add_regions(self, maps: list[Tensor], own: Tensor, every: Tensor, row: int) -> None:
        """Adds the boxes, and as many of the same sizes elsewhere in the image as background."""
        elsewhere = self._elsewhere(own[:, :4], every)
        boxes = torch.cat([own[:, :4], elsewhere])
        labels = torch.cat([own[:, 4], torch.full((len(elsewhere),), float(len(self.names)))]).long()
        if len(boxes):
            self.regions.add(mean_in_boxes(maps, boxes), labels)
            self.region_rows += [row] * len(boxes)

    def _elsewhere(self, boxes: Tensor, every: Tensor) -> Tensor:
        size = boxes[:, 2:] - boxes[:, :2]
        low = torch.rand(10, len(boxes), 2, generator=self.random) * (1 - size).clamp(min=0)
        moved = torch.cat([low, low + size], 2).flatten(0, 1)
        clear = (box_iou(moved.numpy()[:, None], every.numpy()[None]) < APART).all(1)
        return moved[torch.from_numpy(clear)][: len(boxes)]

    @property
    def part(self) -> str:
        return self.regions.part

    def suspects(self) -> list[Suspect]:
        given, free = self._compared()
        return [*self._shifted(given), *self.missing(given, free), *self._of_regions()]

    def _compared(self) -> tuple[list[Given], list[Free]]:
        given: list[Given] = []
        free: list[Free] = []
        for row, target, found in zip(self.rows, self.targets, self.found.find(), strict=True):
            one, other = compare(row, target, found)
            given += one
            free += other
        return given, free

    def _shifted(self, given: list[Given]) -> list[Suspect]:
        seen = [one for one in given if one.score]
        if len(seen) < FEWEST:
            return []
        overlaps, supports = (np.array([one[place] for one in seen]) for place in (3, 2))
        middle = np.median(overlaps)
        limit = min(FARTHEST, middle - SPREAD * np.median(abs(overlaps - middle)))
        usual = np.quantile(supports[supports > 0], 0.1) if supports.any() else 1.0
        return [
            Suspect(one.row, one.score * (1 - one.overlap), self._note_shifted(one))
            for one in seen
            if one.overlap < limit and one.score > max(SURER * one.support, usual)
        ]

    def _note_shifted(self, one: Given) -> str:
        return f"the box of {self._name(one.label)} and the object overlap little (IoU {one.overlap:.2f})"

    def missing(self, given: list[Given], free: list[Free]) -> list[Suspect]:
        """Returns the images with an object that has no box."""
        supported = [one.support for one in given if one.support]
        if len(supported) < FEWEST or len(free) < FEWEST:
            return []
        scores = torch.tensor([*supported, *(one.score for one in free)]).double()
        flags = torch.tensor([1.0] * len(supported) + [0.0] * len(free))
        doubts, probabilities = doubt_flags(scores.logit(eps=1e-4), flags)
        parts = zip(free, doubts[len(supported) :].tolist(), probabilities[len(supported) :].tolist(), strict=True)
        return [
            Suspect(one.row, doubt, f"no box where there seems to be {self._name(one.label)} ({probability:.2f})")
            for one, doubt, probability in parts
            if doubt > LEAST_DOUBT
        ]

    def _of_regions(self) -> list[Suspect]:
        found, labels = self.regions.doubtful(len(self.names) + 1), torch.cat([*self.regions.labels, torch.empty(0)])
        nothing, notes = len(self.names), []
        for place, doubt, other, probability in found:
            label = int(labels[place])
            if label != nothing:
                looks = "shows nothing of it" if other == nothing else f"looks like {self._name(other)}"
                note = f"the box of {self._name(label)} {looks} ({probability:.2f})"
                notes.append(Suspect(self.region_rows[place], doubt, note))
        return notes

    def _name(self, label: int) -> str:
        return self.names[label] if label < len(self.names) else "an object"


class BoxErrors(ObjectErrors):
    """Boxes of images with one object, `bbox`, that differ from those found without the image."""

    def __init__(self, names: Sequence[str], channels: Sequence[int]) -> None:
        super().__init__(names[:1] if len(names) == 1 else ["the object"], channels)

    def add(self, features: list[Tensor], target: Tensor, rows: Tensor) -> None:
        known = target.isfinite().all(1)
        if known.any():
            target = target[known]
            objects = F.pad(target, (0, 2))
            objects[~target.any(1), 4] = -1  # an image without an object
            super().add([part[known] for part in features], objects[:, None], rows[known])

    def missing(self, given: list[Given], free: list[Free]) -> list[Suspect]:
        """Returns the images without a box that show an object; a second object of another image has none."""
        with_box = {one.row for one in given}
        return [one for one in super().missing(given, free) if one.row not in with_box]


def compare(row: int, target: np.ndarray, found: Objects) -> tuple[list[Given], list[Free]]:
    """Compares the objects of an image, float (M, 6), with those that are found in it."""
    boxes, scores, labels = found["boxes"], found["scores"], found["labels"]
    crowd = target[:, 5] > 0
    own, crowds = target[~crowd], target[crowd, :4]
    iou = box_iou(own[:, None, :4].astype(float), boxes[None].astype(float))
    given = []
    for number, one in enumerate(own):
        others = np.delete(iou, number, 0).max(0, initial=0)
        near = (others < BETWEEN) & ((iou[number] > APART) | (len(own) == 1)) & (iou[number] >= others)
        near &= labels == int(one[4])
        support = scores[iou[number] >= SAME].max(initial=0)
        best = np.where(near, scores, 0).argmax() if near.any() else -1
        overlap, score = (iou[number, best], scores[best]) if best >= 0 else (0, 0)
        given.append(Given(row, int(one[4]), float(support), float(overlap), float(score)))
    clear = (iou.max(0, initial=0) < APART) & (_inside(boxes, own[:, :4]) < SAME) & (_inside(boxes, crowds) < SAME)
    clear &= scores > LEAST_SCORE
    free = [Free(row, int(labels[i]), float(scores[i]), boxes[i]) for i in clear.nonzero()[0]]
    return given, free


def _inside(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the largest share of each box, (N, 4), that lies in one of the others, (M, 4): (N,)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    inside = (np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - low).clip(0).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1)
    return (inside / np.maximum(area, 1e-9)[:, None]).max(1, initial=0)
