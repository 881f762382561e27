"""Predicted boxes in the formats of COCO and YOLO."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from visiontasks.core.objects import Objects, take
from visiontasks.core.sample import Sample
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


class CocoFile:
    """The content of a COCO file, image by image: categories and images are numbered from 1.

    Attributes:
        images: Name, height and width of each image.
        annotations: The boxes, in pixels of their image.
        results: The boxes in the format in which COCO takes predictions.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.categories = [{"id": i, "name": name} for i, name in enumerate(class_names, 1)]
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, name: str, size: tuple[int, int], found: Objects) -> None:
        """Adds an image of a height and width with its boxes, of which there may be none."""
        height, width = size
        image = len(self.images) + 1
        self.images.append({"id": image, "file_name": name, "height": height, "width": width})
        for place, (label, box) in enumerate(zip(found["labels"].tolist(), found["boxes"], strict=True)):
            x1, y1, x2, y2 = (round(float(value), 2) for value in box)
            known = {"id": len(self.annotations) + 1, "image_id": image, "category_id": label + 1, "iscrowd": 0}
            known |= {"bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "area": round((x2 - x1) * (y2 - y1), 2)}
            if "masks" in found:
                mask = found["masks"][place]
                known |= {"segmentation": _runs(mask), "area": int(mask.sum())}
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


def _runs(mask: np.ndarray) -> dict[str, Any]:
    """Encodes a mask, bool (H, W), as COCO's run lengths, column by column, the first of pixels outside."""
    flat = np.append(False, mask.ravel(order="F"))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": [int(count) for count in counts]}


def yolo_lines(size: tuple[int, int], found: Objects) -> str:
    """Returns a line `class cx cy w h score` for each box, in shares of the width and height of the image."""
    height, width = size
    shares = found["boxes"] / np.array([width, height, width, height])
    boxes = np.hstack([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]])
    numbers = np.column_stack([boxes, *([found["scores"]] if "scores" in found else [])])
    pairs = zip(found["labels"].tolist(), numbers.tolist(), strict=True)
    return "".join(f"{label} {' '.join(f'{number:.6f}' for number in row)}\n" for label, row in pairs)
