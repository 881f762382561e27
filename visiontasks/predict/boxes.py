"""Predicted objects and masks in the formats of COCO and YOLO."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from visiontasks.core.objects import Objects, take
from visiontasks.core.sample import BACKGROUND, Sample
from visiontasks.predict.segmentation import SEGMENTATIONS
from visiontasks.targets.bbox import is_absent


def boxes_of(sample: Sample) -> Objects | None:
    """Returns the taken objects of a prediction, or its one box; None if it has neither."""
    if "objects" in sample:
        return take(sample["objects"], sample["objects"]["taken"])
    if "bbox" not in sample:
        return None
    one = {"boxes": sample["bbox"][None], "labels": np.array([sample.get("label", 0)])}
    if "score" in sample:
        one["scores"] = np.array([sample["score"]])
    return take(one, [not is_absent(sample["bbox"])])


def regions_of(sample: Sample, names: Sequence[str]) -> Iterator[Objects]:
    """Yields the pixels of each class that occurs in a predicted mask as one object; those of `background` are none.

    The labels are places among the other classes; see `categories`.
    """
    mask, others = sample["mask"], categories(names)
    for value in np.unique(mask).tolist():
        if names[value] != BACKGROUND:
            pixels = mask == value
            left, top, width, height = cv2.boundingRect(pixels.astype(np.uint8))
            box = np.array([[left, top, left + width, top + height]])
            yield {"boxes": box, "labels": np.array([others.index(names[value])]), "masks": pixels[None]}


def categories(names: Sequence[str]) -> list[str]:
    """Returns the classes of a mask without `background`, which in COCO is what no category covers."""
    return [name for name in names if name != BACKGROUND]


class CocoFile:
    """The content of a COCO file, image by image: categories and images are numbered from 1.

    Args:
        names: The categories.
        segmentation: How pixels are written, if they are known; see `SEGMENTATIONS`.

    Attributes:
        images: Name, height and width of each image.
        annotations: The objects, in pixels of their image.
        results: The objects in the format in which COCO takes predictions.
    """

    def __init__(self, names: Sequence[str], segmentation: str = "uncompressed_rle") -> None:
        self.categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self._encode = SEGMENTATIONS[segmentation]

    def add(self, name: str, size: tuple[int, int], found: Iterable[Objects]) -> None:
        """Adds an image with its height, width and objects; there may be no object."""
        height, width = size
        self.images.append({"id": len(self.images) + 1, "file_name": name, "height": height, "width": width})
        for objects in found:
            self._add(objects)

    def _add(self, found: Objects) -> None:
        """Adds objects of the last image."""
        for place, (label, box) in enumerate(zip(found["labels"].tolist(), found["boxes"], strict=True)):
            x1, y1, x2, y2 = (round(float(value), 2) for value in box)
            known = {"id": len(self.annotations) + 1, "image_id": len(self.images), "category_id": label + 1}
            known |= {"iscrowd": 0, "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]}
            known["area"] = round((x2 - x1) * (y2 - y1), 2)
            if "masks" in found:
                mask = found["masks"][place]
                known |= {"segmentation": self._encode(mask), "area": int(mask.sum())}
            if "scores" in found:
                known["score"] = round(float(found["scores"][place]), 6)
            self.annotations.append(known)

    @property
    def content(self) -> dict[str, Any]:
        """The complete file."""
        return {"images": self.images, "annotations": self.annotations, "categories": self.categories}

    @property
    def results(self) -> list[dict[str, Any]]:
        """The list that `loadRes` of pycocotools reads; `image_id` is that of `content`."""
        keys = ("image_id", "category_id", "bbox", "segmentation", "score")
        return [{key: one[key] for key in keys if key in one} for one in self.annotations]


def yolo_lines(size: tuple[int, int], found: Objects) -> str:
    """Returns a line `class cx cy w h score` for each box, in shares of the width and height of the image."""
    height, width = size
    shares = found["boxes"] / np.array([width, height, width, height])
    boxes = np.hstack([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]])
    numbers = np.column_stack([boxes, *([found["scores"]] if "scores" in found else [])])
    pairs = zip(found["labels"].tolist(), numbers.tolist(), strict=True)
    return "".join(f"{label} {' '.join(f'{number:.6f}' for number in row)}\n" for label, row in pairs)
