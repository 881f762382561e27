"""Images with annotated objects, of which one counts."""

import filecmp
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_image, read_size
from visiontasks.data.datasets.base import VisionDataset

OnSeveralObjects = Literal["largest", "first", "skip", "error", "labels"]
OnInvalidBox = Literal["error", "clip"]
Box = tuple[float, float, float, float]
LEAST_SIDE = 1.0  # pixels: what is smaller cannot be seen


class Annotation(NamedTuple):
    """One object: its class's name, its box (xyxy, pixels; none if not known), and where that is written."""

    label: str
    box: Box | None
    where: str


class Record(NamedTuple):
    """An image file, its name in the set, all its objects, the stated height and width (None if unknown), and other
    targets of it by key."""

    path: Path
    name: str
    annotations: list[Annotation]
    size: tuple[int, int] | None = None
    others: dict[str, Any] = {}  # noqa: RUF012 - never changed


class ObjectSet(VisionDataset):
    """Images with one label and one box each, made of records with any number of objects, which `objects` has all.

    Images without an object are left out, and the log says how many.

    Args:
        records: Of this split.
        class_names: The classes and their order.
        objects: Of several objects take the `largest` box or the `first`, `skip` the image, or raise an `error`.
        boxes: A box that is not inside its image is an `error`, or is clipped to it; what then has no area is dropped.
            An image of another size than its annotation states is an `error` too, or is counted and used.
        held_out: Image files of the other splits, if this is the training split: of a file that is
            byte for byte one of them, the copy here is left out.

    Raises:
        InputError: A box, class or file is wrong; the message names the file and the object.
    """

    def __init__(
        self,
        records: Sequence[Record],
        class_names: list[str],
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        held_out: Sequence[Path] = (),
    ) -> None:
        self.class_names, self._all_names = ([] if objects == "labels" else class_names), class_names
        self.labels_names = class_names if objects == "labels" else []
        self._told: Counter[str] = Counter()
        copies = same_files([record.path for record in records], held_out)
        self._told["left out, the same file as one held out"] = len(copies)
        self._records: list[Record] = []
        self._sizes: dict[Path, tuple[int, int]] = {}
        for record in records:
            if record.path not in copies:
                found = self._checked(record, boxes)
                if objects == "labels":
                    occurs = {annotation.label for annotation in found}
                    labels = np.array([name in occurs for name in class_names], np.float32)
                    record = record._replace(others={**record.others, "labels": labels})
                    found = []
                chosen = self._choose(found, objects, record)
                if chosen or record.others:
                    rest = [annotation for annotation in found if annotation is not chosen]
                    self._records.append(record._replace(annotations=[chosen, *rest] if chosen else []))
        told = ", ".join(f"{count} {what}" for what, count in self._told.items() if count)
        if told:
            rank_zero_info(f"{type(self).__name__}: {len(self._records)} of {len(records)} images are used; {told}.")
        if not self._records:
            raise InputError(f"{type(self).__name__}: no image with an object in {len(records)} images ({told}).")

    def __len__(self) -> int:
        return len(self._records)

    def image(self, index: int) -> np.ndarray:
        return read_image(self._records[index].path)

    def size(self, index: int) -> tuple[int, int]:
        return self._size(self._records[index].path)

    def _size(self, path: Path) -> tuple[int, int]:
        if path not in self._sizes:
            self._sizes[path] = read_size(path)
        return self._sizes[path]

    def target(self, index: int) -> dict[str, Any]:
        record = self._records[index]
        if not record.annotations:
            return record.others
        label, box, _ = record.annotations[0]
        known = {} if box is None else {"bbox": np.array(box, np.float32)}
        return {"label": self._all_names.index(label), **known, **record.others}

    def objects(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        known = [(box, self._all_names.index(label)) for label, box, _ in self._records[index].annotations if box]
        boxes, labels = zip(*known, strict=True) if known else ((), ())
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)

    def name(self, index: int) -> str:
        return self._records[index].name

    def _checked(self, record: Record, boxes: OnInvalidBox) -> list[Annotation]:
        """The annotations of an image that can be used, with mended boxes if that is wanted."""
        found = []
        if record.size and record.annotations and record.size != (size := self._size(record.path)):
            if boxes == "error":
                raise InputError(
                    f"{record.annotations[0].where}: made for an image of {record.size[1]} x {record.size[0]} pixels; "
                    f"{record.path} has {size[1]} x {size[0]}, upright. Export the boxes for this file, or, if they "
                    "are right and only the stated size is wrong, set `boxes: clip`."
                )
            self._told["of another size than stated"] += 1
        for annotation in record.annotations:
            if annotation.label not in self._all_names:
                raise InputError(f"{annotation.where}: class {annotation.label!r} is not one of {self._all_names}.")
            box = annotation.box
            if box is not None:
                box = mend_box(box, self._size(record.path), boxes, annotation.where)
                if box is None:
                    self._told["boxes without area dropped"] += 1
                    continue
                self._told["boxes clipped to their image"] += box != annotation.box
            found.append(annotation._replace(box=box))
        return found

    def _choose(self, found: list[Annotation], objects: OnSeveralObjects, record: Record) -> Annotation | None:
        if not (found or record.others):
            self._told["left out without an object"] += 1
        if len(found) < 2:
            return found[0] if found else None
        if objects == "error":
            raise InputError(
                f"{found[1].where}: {record.name} has {len(found)} objects, and one counts. "
                "Set `objects: largest`, `first` or `skip`."
            )
        if objects == "skip":
            self._told["left out with several objects"] += 1
            return None
        self._told[f"with several objects, of which the {objects} counts"] += 1
        return found[0] if objects == "first" else max(found, key=area)


def mend_box(box: Box, size: tuple[int, int], boxes: OnInvalidBox, where: str) -> Box | None:
    """The box if it lies inside its image, else, with `boxes="clip"`, what of it does; none if that has no area.

    Args:
        box: xyxy in pixels.
        size: Height and width of the image in pixels.
        boxes: `error` or `clip`.
        where: Where the box is written.

    Raises:
        InputError: It is not finite; or it is outside, inverted or without area, and `boxes` is `error`.
    """
    height, width = size
    x1, y1, x2, y2 = box
    shown = f"[{', '.join(f'{value:g}' for value in box)}]"
    if not all(map(math.isfinite, box)):
        raise InputError(f"{where}: box {shown} has values that are not finite. Correct it.")
    has_area = min(x2 - x1, y2 - y1) >= LEAST_SIDE
    if has_area and min(x1, y1) >= 0 and x2 <= width and y2 <= height:
        return box
    if boxes == "error":
        raise InputError(
            f"{where}: box {shown} (xmin, ymin, xmax, ymax) "
            f"{'is outside the image' if has_area else 'is inverted or has no area'}; the image is {width} pixels "
            f"wide and {height} high. Correct it, or set `boxes: clip`."
        )
    x1, y1, x2, y2 = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= LEAST_SIDE else None


def same_files(files: Sequence[Path], others: Sequence[Path]) -> set[Path]:
    """The files whose bytes are those of one of the others; only those of equal length are read."""
    by_length = defaultdict(list)
    for other in others:
        by_length[other.stat().st_size].append(other)
    return {
        file
        for file in files
        if by_length and any(filecmp.cmp(file, other, shallow=False) for other in by_length[file.stat().st_size])
    }


def without_copies(files: Sequence[Path], chosen: Sequence[int]) -> list[int]:
    """Which of the training images at `chosen` are not byte for byte one of the others; the log counts those that are.

    Args:
        files: The images of all splits.
        chosen: Places in it of those to train on.

    Raises:
        InputError: None is left.
    """
    held_out = set(range(len(files))) - set(chosen)
    copies = same_files([files[i] for i in chosen], [files[i] for i in sorted(held_out)])
    if copies:
        rank_zero_info(f"{len(copies)} of {len(chosen)} training images left out, the same file as one held out.")
    left = [i for i in chosen if files[i] not in copies]
    if not left:
        raise InputError(f"{files[chosen[0]]}: this and every other training image is the same file as one held out.")
    return left


def file_inside(root: Path, name: str, where: str) -> Path:
    """The path of `name` below `root`.

    Raises:
        InputError: It leads out of `root`, or there is no such file.
    """
    if "\0" in name or not (root / name).resolve().is_relative_to(root.resolve()):
        raise InputError(f"{where}: {name!r} leaves {root}. Set the folder of the images to one above them.")
    if not (root / name).is_file():
        raise InputError(f"{where}: no such file: {root / name}.")
    return root / name


def stated_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Height and width as a file states them; none if they are missing or, as some tools write, 0."""
    try:
        size = int(height), int(width)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def area(annotation: Annotation) -> float:
    """Area of its box in square pixels, 0 if it has none."""
    x1, y1, x2, y2 = annotation.box or (0.0, 0.0, 0.0, 0.0)
    return (x2 - x1) * (y2 - y1)
