"""COCO JSON files, and the boxes in them."""

import json
import reprlib
from collections import Counter
from collections.abc import Sequence
from os.path import normpath
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_bytes
from visiontasks.core.text import normal
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.copies import without_copies
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Record, files_inside, first_of_each, four_numbers, stated_size
from visiontasks.data.splits import SPLITS, MissingSplit, Splits, split_path

Rows = list[dict[str, Any]]
Id = int | str | None
SHAPE = ("bbox", "segmentation", "iscrowd")
_NAMES: dict[tuple[Path, int], list[str]] = {}  # classes of the files of train: it takes long to read one again


class CocoImage(NamedTuple):
    """An image file, its name, where it is written, its stated size, and its annotations: place, class and row."""

    path: Path
    name: str
    where: str
    size: tuple[int, int] | None
    annotations: list[tuple[str, str, dict[str, Any]]]


class CocoBoxes(ObjectSet):
    """Images with boxes in one COCO JSON file, or in one file per split.

    If `annotations` contains `{split}`, the files define the splits. Otherwise the images in string order of their
    names are divided by `splits`. The classes are the categories of the (train) file in the order of their ids, which
    may have gaps; a category that only groups others is none. Crowds (`iscrowd`) are left out, but with
    `objects: labels` their classes count as present.

    Args:
        split: train, val or test.
        annotations: The JSON file; `{split}` in it stands for the split.
        images: Folder that file names are relative to; `{split}` in it stands for the split.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How a single file is divided.
        class_names: If given, the categories to use and their order; annotations of others are left out and counted.
    """

    def __init__(
        self,
        split: str,
        annotations: str,
        images: str,
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        splits: Splits = Splits(),
        class_names: list[str] | None = None,
    ) -> None:
        names, found, chosen = read_coco(split, annotations, images, splits, class_names)
        crowds = objects == "labels"
        if not crowds and (count := count_crowds(found, annotations)) and split == "train":
            rank_zero_warn(f"{annotations}: {count} crowds (iscrowd) are left out.")
        records = [
            Record(i.path, i.name, _boxes(i, names, crowds), size=i.size) for i in map(found.__getitem__, chosen)
        ]
        super().__init__(records, names, objects, boxes)


def read_coco(
    split: str, annotations: str, images: str, splits: Splits, class_names: list[str] | None
) -> tuple[list[str], list[CocoImage], list[int]]:
    """Reads the COCO file of a split; the arguments and exceptions are those of `CocoBoxes`.

    Returns:
        The names of the classes; all images of the file in string order of their names, whose annotations may be of
        other classes if `class_names` are given; and the places of the images of the split, ascending, in train
        without copies of images of other splits.
    """
    by_file = "{split}" in annotations
    path, folder = split_path(annotations, split), split_path(images, split)
    if by_file and not path.is_file():
        others = [name for name in SPLITS if split_path(annotations, name).is_file()]
        if not others:
            raise InputError(f"{path}: no such file, nor one of another split.")
        raise MissingSplit(f"{path}: no such file; there are {', '.join(others)}.")
    names, found = _read(path, folder)
    train = split_path(annotations, "train")
    if class_names:
        if (split == "train" or not by_file) and (unknown := [name for name in class_names if name not in names]):
            raise InputError(f"class_names: {unknown[0]!r} is no category of {path}, which has {names}.")
        _warn_of_others(found, class_names, path)
    elif by_file and split != "train" and train.is_file():
        names = _names_of(train)
        if strange := next((row for i in found for row in i.annotations if row[1] not in names), None):
            raise InputError(f"{strange[0]}: category {strange[1]!r} is not in {train}, which has {names}.")
    names = class_names or names
    check_class_names(names, str(path), fewest=1)
    if by_file:
        splits.log_unused(split, f"{annotations} has one file per split")
        return names, found, list(range(len(found)))
    places = {name: place for place, name in enumerate(names)}
    first = [next((name for _, name, row in i.annotations if not row.get("iscrowd")), "") for i in found]
    labels = [places.get(name, -1) for name in first]
    chosen = splits.indices(split, labels)
    return names, found, without_copies(split, [image.path for image in found], chosen, labels)


def count_crowds(images: Sequence[CocoImage], where: str) -> int:
    """Returns the number of crowds; it is an `InputError` if there is nothing else."""
    crowds = [bool(row.get("iscrowd")) for image in images for _, _, row in image.annotations]
    if crowds and all(crowds):
        fault = f"each of {len(crowds)} annotations is a crowd, so nothing is left to learn"
        raise InputError(f"{where}: {fault}. Set `iscrowd` to 0.")
    return sum(crowds)


def _read(path: Path, folder: Path) -> tuple[list[str], list[CocoImage]]:
    """Reads the names of the classes, and the images in string order of their names."""
    content = _content(path)
    images = _by_id(content["images"], path, "image", "file_name")
    categories = _by_id(content["categories"], path, "category", "name")
    found: dict[Id, list[tuple[str, str, dict[str, Any]]]] = {number: [] for number in images}
    label = {number: normal(row["name"]) for number, row in categories.items()}
    used = Counter[Id]()
    for row in content["annotations"]:
        where = f"{path}, annotation {row.get('id')!r:.40}"
        image, category = _id(row.get("image_id")), _id(row.get("category_id"))
        for key, number, known in (("image_id", image, found), ("category_id", category, label)):
            if number not in known:
                fault = f"{key} {reprlib.repr(row.get(key))} is not an id of this file"
                raise InputError(f"{where}: {fault}. Correct it or remove the annotation.")
        if row.get("iscrowd") not in (None, 0, 1):
            raise InputError(f"{where}: iscrowd must be 0 or 1; found {reprlib.repr(row['iscrowd'])}. Correct it.")
        used[category] += 1
        found[image].append((where, label[category], row))
    listed = sorted(images.items(), key=lambda item: item[1]["file_name"])
    places = [(row["file_name"], f"{path}, image {number}") for number, row in listed]
    read: dict[str, CocoImage] = {}
    for file, (number, row), (name, where) in zip(files_inside(folder, places), listed, places, strict=True):
        image = CocoImage(file, name, where, stated_size(row.get("height"), row.get("width")), found[number])
        if (before := read.setdefault(normpath(file), image)) is not image:
            before.annotations.extend(found[number])
    if len(read) < len(listed):
        rank_zero_warn(f"{path}: {len(listed) - len(read)} images are listed twice; their annotations are joined.")
    if copies := sum(map(_drop_copies, read.values())):
        same = "the same image, class, box and outline as one before them"
        rank_zero_warn(f"{path}: {copies} annotations have {same} and do not count.")
    return _names(categories, used, path), list(read.values())


def _content(path: Path) -> dict[str, Rows]:
    data = read_bytes(path)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}).") from None
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: not a COCO file: {key!r} must be a list of objects.")
    return content


def _names_of(path: Path) -> list[str]:
    """Returns the names of the classes of another file."""
    key = path, path.stat().st_mtime_ns
    if key not in _NAMES:
        content = _content(path)
        used = Counter[Id](_id(row.get("category_id")) for row in content["annotations"])
        _names(_by_id(content["categories"], path, "category", "name"), used, path)
    return _NAMES[key]


def _names(categories: dict[Id, dict[str, Any]], used: Counter[Id], path: Path) -> list[str]:
    """Returns the names in the order of the ids, without categories that only group others (as Roboflow writes)."""
    groups = {
        number
        for number, row in categories.items()
        if not used[number]
        and any(other.get("supercategory") == row["name"] for other in categories.values() if other is not row)
    }
    order = sorted(categories.keys() - groups, key=lambda number: (isinstance(number, str), number))
    names = [normal(categories[number]["name"]) for number in order]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two categories share a name: {sorted(names)}.")
    _NAMES[path, path.stat().st_mtime_ns] = names
    return names


def _by_id(rows: Rows, path: Path, what: str, key: str) -> dict[Id, dict[str, Any]]:
    found: dict[Id, dict[str, Any]] = {}
    for row in rows:
        number = _id(row.get("id"))
        if number is None or not isinstance(row.get(key), str):
            shown = reprlib.repr(row.get("id"))
            raise InputError(f"{path}: {what} {shown} must have an id and a {key}; found {reprlib.repr(row)}.")
        if number in found:
            raise InputError(f"{path}: the {what} id {number} occurs twice.")
        found[number] = row
    if not found:
        raise InputError(f"{path}: the file has no {what}.")
    return found


def _id(value: Any) -> Id:
    """Returns an id that may be written as 7, 7.0, "7" or "x7"; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        return int(value) if value.isdecimal() and value.isascii() and len(value) < 20 else value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _drop_copies(image: CocoImage) -> int:
    """Removes annotations of the same class, box and outline as one before them, and returns their number."""
    count = len(image.annotations)
    if len({(name, repr(row.get("bbox"))) for _, name, row in image.annotations}) < count:  # outlines may be long
        shapes = [repr((name, *map(row.get, SHAPE))) for _, name, row in image.annotations]
        image.annotations[:] = first_of_each(image.annotations, shapes)
    return count - len(image.annotations)


def _warn_of_others(images: Sequence[CocoImage], class_names: list[str], path: Path) -> None:
    others = Counter(name for image in images for _, name, _ in image.annotations if name not in class_names)
    if others:
        names = ", ".join(f"{name} ({count})" for name, count in others.most_common(3))
        rank_zero_warn(f"{path}: {others.total()} annotations are not of `class_names` and left out: {names} ...")


def _boxes(image: CocoImage, names: Sequence[str], crowds: bool) -> list[Annotation]:
    """Returns the objects of an image, and its crowds, without a box, if they are wanted."""
    found = []
    for where, name, row in image.annotations:
        if name not in names:
            continue
        if not row.get("iscrowd"):
            expected = "bbox must be four numbers, x, y, width, height"
            x, y, width, height = four_numbers(row.get("bbox"), where, expected)
            found.append(Annotation(name, (x, y, x + width, y + height), where))
        elif crowds:
            found.append(Annotation(name, None, where))
    return found
