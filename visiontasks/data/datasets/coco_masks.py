"""Masks in COCO JSON files."""

from typing import NamedTuple

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.faults import is_refused, usable
from visiontasks.core.images import read_size
from visiontasks.core.sample import BACKGROUND, IGNORE_MASK
from visiontasks.data.datasets.base import FileSet
from visiontasks.data.datasets.coco import CocoImage, count_crowds, read_coco
from visiontasks.data.datasets.regions import Shape, read_shape, shape_runs
from visiontasks.data.masks import MAX_CLASSES
from visiontasks.data.splits import Splits, SplitsLike


class Region(NamedTuple):
    """The value of one object in the mask, and its pixels: polygons (x, y, x, y, ...) or the lengths of its runs."""

    value: int
    shape: Shape


class CocoMasks(FileSet):
    """Images with masks of the objects in one COCO JSON file, or in one file per split.

    The classes are `background` and those of `CocoBoxes`. Where objects overlap, the one with fewer pixels lies on top.
    Pixels of a crowd (`iscrowd`) without an object are ignored. Images without annotations are background. Files and
    splits are those of `CocoBoxes`.

    Args:
        split: train, val or test.
        annotations: The JSON file; `{split}` in it stands for the split.
        images: Folder that file names are relative to; `{split}` in it stands for the split.
        splits: How a single file, or train without val, is divided.
        class_names: If given, the categories to use and their order; pixels of others are ignored.
    """

    def __init__(
        self,
        split: str,
        annotations: str,
        images: str,
        splits: SplitsLike = Splits(),
        class_names: list[str] | None = None,
    ) -> None:
        names, found, chosen = read_coco(split, annotations, images, splits, class_names)
        self.class_names, self.mask_names = [], [BACKGROUND, *names]
        if BACKGROUND in names:
            raise InputError(f"{annotations}: a category is named {BACKGROUND!r}, like pixels without one. Rename it.")
        if len(self.mask_names) > MAX_CLASSES:
            raise InputError(f"{annotations}: {len(names)} categories; a mask can have {MAX_CLASSES - 1}. Remove some.")
        count_crowds(found, annotations)
        values = {name: value for value, name in enumerate(names, 1)}
        sizes = {i: size for i in chosen if (size := usable("file", found[i].path, _size, found[i]))}
        regions = {i: _regions(found[i], size, values) for i, size in sizes.items()}
        used = [i for i in regions if not is_refused(found[i].path)]  # else a part of the mask is missing
        self._sizes, self._regions = [sizes[i] for i in used], [regions[i] for i in used]
        self._images = [found[i]._replace(annotations=[]) for i in used]  # the lists of numbers are large
        self.paths = [image.path for image in self._images]

    def name(self, index: int) -> str:
        return self._images[index].name

    def mask(self, index: int) -> np.ndarray:
        (height, width), found = self._sizes[index], self.size(index)
        if found != (height, width):
            image = self._images[index]
            fault = f"{width} x {height} pixels; {image.path} has {found[1]} x {found[0]}, upright"
            advice = "Export the masks for this file, or correct `width` and `height`."
            raise InputError(f"{image.where}: {fault}. {advice}")
        regions = [(region.value, shape_runs(region.shape, height, width)) for region in self._regions[index]]
        regions.sort(key=lambda region: (region[0] != IGNORE_MASK, -region[1][1::2].sum()))
        columns = np.zeros(height * width, np.uint8)
        for value, runs in regions:
            columns[np.repeat(np.arange(len(runs)) % 2 == 1, runs)] = value
        return np.ascontiguousarray(columns.reshape(width, height).T)


def _regions(image: CocoImage, size: tuple[int, int], values: dict[str, int]) -> list[Region]:
    """Checks the objects of an image without drawing them."""
    regions = []
    for where, name, row in image.annotations:
        value = IGNORE_MASK if row.get("iscrowd") else values.get(name, IGNORE_MASK)
        shape = usable("annotation", image.path, read_shape, row.get("segmentation"), size, where)
        if shape is not None:
            regions.append(Region(value, shape))
    return regions


def _size(image: CocoImage) -> tuple[int, int]:
    return image.size or read_size(image.path)
