"""Images with a mask file each that shows every object."""

from typing import Any

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.objects import Objects, make_objects
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.masks import MaskFolder
from visiontasks.data.masks import read_values
from visiontasks.data.splits import Splits, SplitsLike

MOST = 2000  # objects per image: a mask of colors or of noise would have more


class InstanceFolder(MaskFolder):
    """Images in one folder and masks of the same names in another; the value of a pixel is the number of its object.

    0 is background, and all objects have the one class. With `components` the value is a class instead, 1 and the place
    in `class_names`, and each connected part of its pixels (also by corners) is one object. Two objects of a class that
    touch are then one object, and an object that something divides is several: use it only where objects lie apart.

    A box is the smallest around the pixels of its object. Files and splits are those of `MaskFolder`.

    Args:
        split: train, val or test.
        root: Folder that holds images and masks.
        class_names: Names of the classes; one, unless `components` is set.
        images: Folder of the images, relative to `root`, or their paths with `{stem}`; see `MaskFolder`.
        masks: Folder or paths of the masks, in the same way.
        lists: File with one line per image; see `MaskFolder`.
        components: Objects are the connected parts of each class.
        ignore: Values of regions that are neither object nor background; each connected part counts with its box.
        splits: How images without splits, or train without val, are divided.
    """

    def __init__(
        self,
        split: str,
        root: str,
        class_names: list[str],
        images: str = "images",
        masks: str = "masks",
        lists: str | None = None,
        components: bool = False,
        ignore: list[int] = [],  # noqa: B006 - never changed, and jsonargparse shows it
        splits: SplitsLike = Splits(),
    ) -> None:
        check_class_names(class_names, "class_names", fewest=1)
        if len(class_names) > 1 and not components:
            fault = f"class_names: {len(class_names)} classes, but the values of the masks are numbers of objects"
            raise InputError(f"{fault}. Give one class, or set `components: true` if the values are classes.")
        super().__init__(split, root, class_names, images, masks, lists, splits=splits)
        self.class_names, self.mask_names = class_names, []
        self._components, self._ignore = components, ignore
        self._known: dict[int, Objects] = {}

    def target(self, index: int) -> dict[str, Any]:
        return {"objects": self.objects(index)}

    def objects(self, index: int) -> Objects:
        if index not in self._known:
            self._read(index)
        return {key: part.copy() for key, part in self._known[index].items()}

    def instances(self, index: int) -> np.ndarray:
        return self._read(index)

    def mask(self, index: int) -> None:
        return None

    def _read(self, index: int) -> np.ndarray:
        """Reads the pixels of each object, bool (objects, H, W), and keeps their boxes."""
        values = read_values(self.mask_paths[index], page=self.page)
        parts = [(label, values == value, value in self._ignore) for label, value in self._values(values, index)]
        if self._components or self._ignore:
            split = [(*one, _connected(one[1]) if self._components or one[2] else [one[1]]) for one in parts]
            parts = [(label, part, crowd) for label, _, crowd, connected in split for part in connected]
        if len(parts) > MOST:
            fault = f"{len(parts)} objects, more than {MOST:,}"
            raise InputError(f"{self.mask_paths[index]}: {fault}. Expected the number of its object in each pixel.")
        boxes = [_bounds(pixels) for _, pixels, _ in parts]
        self._known[index] = make_objects(boxes, [label for label, *_ in parts], [crowd for *_, crowd in parts])
        return np.array([pixels for _, pixels, _ in parts], bool).reshape(-1, *values.shape)

    def _values(self, values: np.ndarray, index: int) -> list[tuple[int, int]]:
        """Returns the class and the value of what a mask shows."""
        found = [value for value in np.unique(values).tolist() if value]
        wrong = [value for value in found if value not in self._ignore and not 0 < value <= len(self.class_names)]
        if self._components and wrong:
            known = f"the classes are 1 to {len(self.class_names)}, 0 is background"
            raise InputError(f"{self.mask_paths[index]}: pixels are {wrong[0]}; {known}. Name more, or set `ignore`.")
        if len(found) > MOST:
            fault = f"{len(found)} values, more than {MOST:,}"
            raise InputError(f"{self.mask_paths[index]}: {fault}. Expected the number of its object in each pixel.")
        return [(-1 if v in self._ignore else v - 1 if self._components else 0, v) for v in found]


def _connected(pixels: np.ndarray) -> list[np.ndarray]:
    count, numbers = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=8)
    return [numbers == number for number in range(1, count)]


def _bounds(pixels: np.ndarray) -> list[int]:
    """Returns the smallest box around pixels, xyxy."""
    left, top, width, height = cv2.boundingRect(pixels.astype(np.uint8))
    return [left, top, left + width, top + height]
