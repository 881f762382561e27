"""COCO JSON files, and the boxes in them."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_bytes
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Record, file_inside, four_numbers, stated_size, without_copies
from visiontasks.data.splits import SPLITS, MissingSplit, Splits


class CocoImage(NamedTuple):
    """An image file, its name, where it is written, its stated size, and its annotations, each with its place."""

    path: Path
    name: str
    where: str
    size: tuple[int, int] | None
    annotations: list[tuple[str, dict[str, Any]]]


class CocoBoxes(ObjectSet):
    """Images with boxes in one COCO JSON file, or in one file per split.

    If `annotations` contains `{split}`, the files define the splits. Otherwise the images in string order of their
    names are divided by `splits`. The classes are in the order of the category ids, which may have gaps. Crowds
    (`iscrowd`) are left out, but with `objects: labels` their classes count as present.

    Args:
        split: train, val or test.
        annotations: The JSON file; `{split}` in it stands for the split.
        images: Folder that file names are relative to; `{split}` in it stands for the split.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How a single file is divided.
    """

    def __init__(
        self,
        split: str,
        annotations: str,
        images: str,
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        splits: Splits = Splits(),
    ) -> None:
        names, found, chosen = read_coco(split, annotations, images, splits)
        crowds = objects == "labels"
        records = [Record(image.path, image.name, _annotations(image, names, crowds), image.size) for image in found]
        super().__init__([records[i] for i in chosen], list(names.values()), objects, boxes)


def read_coco(
    split: str, annotations: str, images: str, splits: Splits
) -> tuple[dict[int, str], list[CocoImage], list[int]]:
    """Reads the COCO file of a split; the arguments and exceptions are those of `CocoBoxes`.

    Returns:
        The names of the categories by their ids, ascending; all images of the file in string order of their names;
        and the places of the images of the split, ascending, in train without copies of images of other splits.
    """
    by_file = "{split}" in annotations
    path, folder = (Path(text.replace("{split}", split)) for text in (annotations, images))
    if by_file and not path.is_file():
        others = [name for name in SPLITS if Path(annotations.replace("{split}", name)).is_file()]
        if not others:
            raise InputError(f"{path}: no such file, nor one of another split.")
        raise MissingSplit(f"{path}: no such file; there are {', '.join(others)}.")
    names, found = _read(path, folder)
    if by_file:
        splits.log_unused(split, f"{annotations} has one file per split")
        return names, found, list(range(len(found)))
    places = {number: place for place, number in enumerate(names)}
    first = [next((row for _, row in image.annotations if not row.get("iscrowd")), None) for image in found]
    labels = [places[row["category_id"]] if row else -1 for row in first]
    chosen = splits.indices(split, labels).tolist()
    return names, found, without_copies(split, [image.path for image in found], chosen)


def _read(path: Path, folder: Path) -> tuple[dict[int, str], list[CocoImage]]:
    data = read_bytes(path)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}).") from None
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: not a COCO file: {key!r} must be a list of objects.")
    categories = _by_id(content["categories"], path, "category", "name")
    names = {number: categories[number]["name"] for number in sorted(categories)}
    if len(set(names.values())) < len(names):
        raise InputError(f"{path}: two categories share a name: {sorted(names.values())}.")
    images = _by_id(content["images"], path, "image", "file_name")
    found: dict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for row in content["annotations"]:
        where = f"{path}, annotation {row.get('id')!r}"
        for key, known in (("image_id", images), ("category_id", categories)):
            if not isinstance(row.get(key), int) or row[key] not in known:
                fault = f"{key} {row.get(key)!r} is not an id of this file"
                raise InputError(f"{where}: {fault}. Correct it or remove the annotation.")
        found[row["image_id"]].append((where, row))
    read = []
    for number, row in sorted(images.items(), key=lambda item: item[1]["file_name"]):
        name, where = row["file_name"], f"{path}, image {number}"
        size = stated_size(row.get("height"), row.get("width"))
        read.append(CocoImage(file_inside(folder, name, where), name, where, size, found[number]))
    return names, read


def _by_id(rows: list[dict[str, Any]], path: Path, what: str, key: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        number = row.get("id")
        if not isinstance(number, int) or not isinstance(row.get(key), str):
            raise InputError(f"{path}: {what} {number!r} must have an integer id and a {key}; found {row}.")
        if number in found:
            raise InputError(f"{path}: the {what} id {number} occurs twice.")
        found[number] = row
    if not found:
        raise InputError(f"{path}: the file has no {what}.")
    return found


def _annotations(image: CocoImage, names: dict[int, str], crowds: bool) -> list[Annotation]:
    """Returns the objects of an image, and its crowds, without a box, if they are wanted."""
    found = []
    for where, row in image.annotations:
        name = names[row["category_id"]]
        if not row.get("iscrowd"):
            expected = "bbox must be four numbers, x, y, width, height"
            x, y, width, height = four_numbers(row.get("bbox"), where, expected)
            found.append(Annotation(name, (x, y, x + width, y + height), where))
        elif crowds:
            found.append(Annotation(name, None, where))
    return found
