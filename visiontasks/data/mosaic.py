"""Mosaics: four training images in one picture."""

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Resize, Size, height_width
from visiontasks.core.objects import Objects, area
from visiontasks.core.sample import FILL, Sample
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.targets import find_target
from visiontasks.targets.sample import resize_sample

SHARES = (0.5, 1.0)  # side of an image as a share of the picture's
MIDDLE = (0.25, 0.75)  # where the four images meet, as a share of the picture


class Mosaic:
    """Puts an image and three random others together around a random point (Bochkovskiy et al. 2020, section 3.3).

    Each image is as large as in validation, or smaller by one factor, down to a half; what does not fit its quarter is
    cut off. The randomness is a pure function of (seed, epoch, index).

    Args:
        dataset: The training set, whose only target is `objects`.
        share: Share of the samples that become mosaics, 0..1.
        size: Size of the picture in pixels.
        resize: How an image is resized; see `fit_into`.
        seed: Seed of all draws.

    Raises:
        InputError: The set has other targets, which cannot be joined.
    """

    def __init__(self, dataset: VisionDataset, share: float, size: Size, resize: Resize, seed: int) -> None:
        self.dataset, self.share, self.size, self.resize, self.seed = dataset, share, size, resize, seed

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        """Returns the mosaic of a sample, or the sample itself if it does not become one."""
        rng = np.random.default_rng([self.seed, epoch, index, 4])
        if rng.random() >= self.share:
            return sample
        height, width = height_width(self.size)
        factor, x, y = rng.uniform(*SHARES), *(rng.uniform(*MIDDLE, 2) * [width, height]).astype(int).tolist()
        others = [self.dataset[int(place)] for place in rng.integers(len(self.dataset), size=3)]
        order = rng.permutation(4)
        inner = (max(1, round(height * factor)), max(1, round(width * factor)))
        four = [resize_sample(one, inner, self.resize) for one in (sample, *others)]
        image, parts = np.full((height, width, 3), FILL, np.uint8), []
        for place, one in zip(order, four, strict=True):
            right, below = place % 2, place // 2
            left, top = x - inner[1] * (not right), y - inner[0] * (not below)
            quarter = (x if right else 0, y if below else 0, width if right else x, height if below else y)
            x1, y1, x2, y2 = _overlap(quarter, (left, top, left + inner[1], top + inner[0]))
            image[y1:y2, x1:x2] = one["image"][y1 - top : y2 - top, x1 - left : x2 - left]
            objects = one.get("objects", find_target("objects").missing(inner, self.dataset.names("objects")))
            parts.append(_moved(objects, (left, top), (x1, y1, x2, y2), (height, width)))
        if any("masks" in part for part in parts):  # a crowd of what is not annotated has none
            parts = [{"masks": np.zeros((len(part["labels"]), height, width), bool), **part} for part in parts]
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return {**sample, "image": image, "size": (height, width), "objects": joined}


def check_mosaic(share: float, keys: tuple[str, ...] = ("objects",)) -> None:
    """Raises an `InputError` if a share is not in 0..1, or if a set has targets that a mosaic cannot join."""
    if not 0 <= share <= 1:
        raise InputError(f"data.mosaic: {share} must be a share of the training images, 0..1.")
    if share and set(keys) != {"objects"}:
        found = ", ".join(keys) or "no target"
        raise InputError(f"data.mosaic: it joins `objects` alone, and the data has {found}. Set `mosaic: 0`.")


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x1, y1 = max(first[0], second[0]), max(first[1], second[1])
    return x1, y1, max(x1, min(first[2], second[2])), max(y1, min(first[3], second[3]))


def _moved(
    objects: Objects, offset: tuple[int, int], window: tuple[int, int, int, int], size: tuple[int, int]
) -> Objects:
    """Moves the objects of an image to its place in the mosaic, where only a window of it is seen."""
    (left, top), (x1, y1, x2, y2) = offset, window
    boxes = objects["boxes"] + np.array([left, top, left, top], np.float32)
    inside = boxes.clip([x1, y1, x1, y1], [x2, y2, x2, y2]).astype(np.float32)
    share = area(inside) / np.maximum(area(boxes), np.finfo(np.float32).tiny)
    moved = {**objects, "boxes": inside, "visible": share.astype(np.float32)}
    if "masks" in objects:
        moved["masks"] = np.zeros((len(boxes), *size), bool)
        moved["masks"][:, y1:y2, x1:x2] = objects["masks"][:, y1 - top : y2 - top, x1 - left : x2 - left]
    return {key: part[share > 0] for key, part in moved.items()}
