"""All that the checks of a set look at."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.objects import Objects, make_objects
from visiontasks.data import VisionDataModule, VisionDataset
from visiontasks.data.datasets.base import FileSet
from visiontasks.doctor.finding import Place
from visiontasks.doctor.survey import Survey, files_of, look

HELD_OUT = ("val", "test")


@dataclass
class Evidence:
    """The splits of a set and what was seen of them.

    Attributes:
        data: The data of a config.
        datasets: The splits that could be opened.
        surveys: What a pass over the images has shown; empty for the short check.
        of_fit: Whether these are the datasets of a fit, whose targets are read already.
    """

    data: VisionDataModule
    datasets: dict[str, VisionDataset]
    surveys: dict[str, Survey] = field(default_factory=dict)
    of_fit: bool = False

    @cached_property
    def targets(self) -> dict[str, list[dict[str, Any]]]:
        """The targets of each image; none where they cannot be read."""
        known = {"train": self.data.targets} if self.of_fit else {}
        others = {split: one for split, one in self.datasets.items() if split not in known}
        return known | {split: [_target(one, i) for i in range(len(one))] for split, one in others.items()}

    @cached_property
    def objects(self) -> dict[str, list[Objects | None]]:
        """All objects of each image; None where they are not known."""
        return {
            split: [_objects(one, i, target) for i, target in enumerate(self.targets[split])]
            for split, one in self.datasets.items()
        }

    @cached_property
    def sizes(self) -> dict[str, np.ndarray]:
        """Height and width of each upright image, int64 (N, 2); 0 where they cannot be read."""
        return {
            split: np.array([_size(one, i) for i in range(len(one))], np.int64).reshape(-1, 2)
            for split, one in self.datasets.items()
        }

    def is_partial(self, split: str, key: str) -> bool:
        """Returns whether a target of some images of a split is not known, such as one that has a fault."""
        if key == "mask":
            return any(mask and mask.error for mask in self.surveys[split].masks)
        return any(key not in target for target in self.targets[split])

    @property
    def has_boxes(self) -> bool:
        """Whether images have boxes."""
        return any(target.keys() & {"bbox", "objects"} for found in self.targets.values() for target in found)

    def thumbnail(self, split: str, index: int) -> np.ndarray:
        """Returns a small picture of an image, uint8 (32, 32, 3), for which the short check reads the file."""
        if split in self.surveys:
            return self.surveys[split].looks[index].thumbnail
        dataset = self.datasets[split]
        return look(dataset, files_of(dataset), index).thumbnail

    def frame(self, split: str, index: int) -> Frame:
        """Returns how an image is placed in its picture."""
        height, width = self.sizes[split][index].tolist()
        return Frame(height, width, self.data.image_size, self.data.resize)

    def place(self, split: str, index: int, note: str = "") -> Place:
        """Returns an image as the place of a finding."""
        return Place(split, int(index), self.datasets[split].name(int(index)), note)

    def places(self, split: str, indices: Iterable[int], note: str = "") -> list[Place]:
        """Returns images as the places of a finding."""
        return [self.place(split, index, note) for index in indices]

    def file(self, place: Place) -> str | None:
        """Returns the file of an image; None if it has none."""
        if place.index < 0 or place.split not in self.datasets:
            return None
        files = files_of(self.datasets[place.split])
        return str(files[place.index]) if files else None


def _target(dataset: VisionDataset, index: int) -> dict[str, Any]:
    try:
        return dataset.target(index)
    except InputError:
        return {}


def _objects(dataset: VisionDataset, index: int, target: dict[str, Any]) -> Objects | None:
    if "objects" in target:
        return target["objects"]
    if "bbox" not in target:
        return None
    if isinstance(dataset, FileSet):
        return dataset.objects(index)
    boxes = [target["bbox"]] if target["bbox"].any() else []
    return make_objects(boxes, [target.get("label", 0)] * len(boxes))


def _size(dataset: VisionDataset, index: int) -> tuple[int, int]:
    try:
        return dataset.size(index)
    except InputError:
        return 0, 0
