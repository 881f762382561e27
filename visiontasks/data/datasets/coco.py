"""Boxes in COCO's JSON files."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.data.datasets.objects import Annotation, Boxes, Objects, ObjectSet, Record, file_inside, stated_size
from visiontasks.data.splits import SPLITS, MissingSplit, Splits
from visiontasks.samples import InputError


class CocoBoxes(ObjectSet):
    """Images with boxes in one COCO JSON file, or one a split.

    Where `{split}` stands in `annotations`, the file of that name says what belongs to a split; otherwise the
    images in string order of their names are divided by `splits`. Category ids may have gaps; the classes are in
    their order. Crowds (`iscrowd`) are left out.

    Args:
        split: train, val or test.
        annotations: The JSON file; `{split}` in it stands for the split.
        images: Folder that the file names in it start from; `{split}` as above.
        objects: Of several objects take the `largest` box or the `first`, `skip` the image, or raise an `error`.
        boxes: A box that is not inside its image is an `error`, or is clipped to it; what then has no area is dropped.
        splits: How a single file is divided.

    Raises:
        MissingSplit: There is no such split.
        InputError: The file, an id, a file name or a box is wrong; the message says which.
    """

    def __init__(
        self,
        split: str,
        annotations: str,
        images: str,
        objects: Objects = "largest",
        boxes: Boxes = "error",
        splits: Splits = Splits(),
    ) -> None:
        by_file = "{split}" in annotations
        path, folder = (Path(text.replace("{split}", split)) for text in (annotations, images))
        if by_file and not path.is_file():
            others = [name for name in SPLITS if Path(annotations.replace("{split}", name)).is_file()]
            if not others:
                raise InputError(f"{path}: no such file, nor one of another split.")
            raise MissingSplit(f"{path}: no such file; there are {', '.join(others)}.")
        if by_file and split == "train" and splits != Splits():
            rank_zero_info(f"{annotations} has a file a split, so {splits} is not used.")
        records, class_names = _read(path, folder)
        labels = [class_names.index(record.annotations[0].label) if record.annotations else -1 for record in records]
        chosen = set(range(len(records)) if by_file else splits.indices(split, labels).tolist())
        held_out = [record.path for i, record in enumerate(records) if split == "train" and i not in chosen]
        super().__init__([records[i] for i in sorted(chosen)], class_names, objects, boxes, held_out)


def _read(path: Path, folder: Path) -> tuple[list[Record], list[str]]:
    """All images of a file in string order of their names, and the class names."""
    content = _load(path)
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: not a COCO file: {key!r} must be a list of objects.")
    categories = _by_id(content["categories"], path, "category", "name")
    class_names = [str(categories[number]["name"]) for number in sorted(categories)]
    if len(set(class_names)) < len(class_names):
        raise InputError(f"{path}: two categories have one name: {sorted(class_names)}.")
    images = _by_id(content["images"], path, "image", "file_name")
    found: dict[Any, list[Annotation]] = defaultdict(list)
    for row in content["annotations"]:
        where = f"{path}, annotation {row.get('id')!r}"
        for key, known in (("image_id", images), ("category_id", categories)):
            if not isinstance(row.get(key), int) or row[key] not in known:
                raise InputError(f"{where}: {key} {row.get(key)!r} is not an id of this file.")
        if not row.get("iscrowd"):
            label = str(categories[row["category_id"]]["name"])
            found[row["image_id"]].append(Annotation(label, _box(row.get("bbox"), where), where))
    records = []
    for number, row in sorted(images.items(), key=lambda item: str(item[1]["file_name"])):
        name = str(row["file_name"])
        file = file_inside(folder, name, f"{path}, image {number}")
        records.append(Record(file, name, found[number], stated_size(row.get("height"), row.get("width"))))
    return records, class_names


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}).") from None


def _by_id(rows: list[dict[str, Any]], path: Path, what: str, key: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        number = row.get("id")
        if not isinstance(number, int) or not isinstance(row.get(key), str):
            raise InputError(f"{path}: {what} {number!r} must have an integer id and a {key}; found {row}.")
        if number in found:
            raise InputError(f"{path}: the {what} id {number} stands twice.")
        found[number] = row
    if not found:
        raise InputError(f"{path}: no {what} in it.")
    return found


def _box(value: Any, where: str) -> tuple[float, float, float, float]:
    """COCO's x, y, width and height as xyxy."""
    try:
        x, y, width, height = map(float, value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: bbox must be four numbers, x, y, width, height; found {value!r}.") from None
    return x, y, x + width, y + height
