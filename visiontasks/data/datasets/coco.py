"""COCO JSON files, and the boxes in them."""

import re
import reprlib
from collections import Counter
from collections.abc import Sequence
from os.path import isfile, normpath
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse, usable
from visiontasks.core.text import normal
from visiontasks.core.words import counted, verb
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.coco_json import Id, by_id, read_content, to_id
from visiontasks.data.datasets.copies import divide
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Record, files_inside, first_of_each, four_numbers, stated_size
from visiontasks.data.datasets.repeats import note_repeats, warn_of_repeats
from visiontasks.data.splits import SPLITS, Splits, SplitsLike, find_part, split_path

Names = list[str] | None
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

    If `annotations` contains `{split}`, the files define the splits; without one for val, `splits` divides train. The
    images of a single file in string order of their names are divided by `splits`. The classes are the categories of
    the (train) file in the order of their ids, which may have gaps; a category that only groups others is none. Crowds
    (`iscrowd`) are left out, but with `objects: labels` their classes count as present, and with `objects: all` their
    regions are neither object nor background. An image that is listed without an annotation has no object.

    Args:
        split: train, val or test.
        annotations: The JSON file; `{split}` in it stands for the split.
        images: Folder that file names are relative to; `{split}` in it stands for the split.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`,
            or `all` objects, which may be none.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How a single file, or train without val, is divided.
        class_names: If given, the categories to use and their order; annotations of others are left out and counted.
        keep: If given, the classes to use and their order; objects of other classes are dropped and counted.
        absent: Keep images without an object, whose box is then known to be absent; else they are left out.
        masks: Read the pixels of each object too, from `segmentation`; for `objects: all`.
    """

    def __init__(
        self,
        split: str,
        annotations: str,
        images: str,
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        splits: SplitsLike = Splits(),
        class_names: list[str] | None = None,
        keep: list[str] | None = None,
        absent: bool = False,
        masks: bool = False,
    ) -> None:
        names, found, chosen = read_coco(split, annotations, images, splits, class_names, keep)
        crowds = objects in ("labels", "all")
        if not crowds and (count := count_crowds(found, annotations)) and split == "train":
            rank_zero_warn(f"{annotations}: {count} crowds (iscrowd) are left out.")
        used = [found[place] for place in chosen]
        records = [Record(i.path, i.name, _boxes(i, names, objects, masks), size=i.size) for i in used]
        super().__init__(records, names, objects, boxes, keep, absent, masks)


def read_coco(
    split: str, annotations: str, images: str, splits: SplitsLike, class_names: Names, keep: Names = None
) -> tuple[list[str], list[CocoImage], list[int]]:
    """Reads the COCO file of a split; the arguments and exceptions are those of `CocoBoxes`.

    Returns:
        The names of the classes; all images of the file in string order of their names, whose annotations may be of
        other classes with `class_names` or `keep`; and the places of the images of the split, ascending, in train
        without copies of images of other splits.
    """
    by_file = "{split}" in annotations
    there = [name for name in SPLITS if by_file and split_path(annotations, name).is_file()]
    if by_file and not there:
        raise InputError(f"{split_path(annotations, split)}: no such file, nor one of another split.")
    part, divider = find_part(split, splits, there, annotations)
    path, folder = split_path(annotations, part), split_path(images, part)
    names, found = _read(path, folder)
    train = split_path(annotations, "train")
    if class_names:
        if part == "train" and (unknown := [name for name in class_names if name not in names]):
            raise InputError(f"class_names: {unknown[0]!r} is no category of {path}, which has {names}.")
        _warn_of_others(found, class_names, path)
    elif part != "train" and train.is_file():
        names = _names_of(train)
        for image in found if not keep else ():
            _drop_unknown(image, names, train)
    names = class_names or names
    check_class_names(names, str(path), fewest=1)
    if not divider:
        return names, found, list(range(len(found)))
    places = {name: place for place, name in enumerate(names)}
    first = [next((name for _, name, row in i.annotations if not row.get("iscrowd")), "") for i in found]
    labels = [places.get(name, -1) for name in first]
    return names, found, divide(split, divider, [image.path for image in found], labels)


def count_crowds(images: Sequence[CocoImage], where: str) -> int:
    """Returns the number of crowds; it is an `InputError` if there is nothing else."""
    crowds = [bool(row.get("iscrowd")) for image in images for _, _, row in image.annotations]
    if crowds and all(crowds):
        fault = f"each of {len(crowds)} annotations is a crowd, so nothing is left to learn"
        raise InputError(f"{where}: {fault}. Set `iscrowd` to 0.")
    return sum(crowds)


def _read(path: Path, folder: Path) -> tuple[list[str], list[CocoImage]]:
    """Reads the names of the classes, and the images in string order of their names."""
    content = read_content(path)
    images = by_id(content["images"], path, "image", "file_name")
    categories = by_id(content["categories"], path, "category", "name")
    found: dict[Id, list[tuple[str, str, dict[str, Any]]]] = {number: [] for number in images}
    label = {number: normal(row["name"]) for number, row in categories.items()}
    used = Counter[Id]()
    for row in content["annotations"]:
        where = f"{path}, annotation {row.get('id')!r:.40}"
        image, category = to_id(row.get("image_id")), to_id(row.get("category_id"))
        for key, number, known in (("image_id", image, found), ("category_id", category, label)):
            if number not in known:
                fault = f"{key} {reprlib.repr(row.get(key))} is not an id of this file"
                error = InputError(f"{where}: {fault}. Correct it or remove the annotation.")
                refuse("annotation", folder / images[image]["file_name"] if image in images else path, error)
                break
        else:
            if row.get("iscrowd") not in (None, 0, 1):
                fault = f"{where}: iscrowd must be 0 or 1; found {reprlib.repr(row['iscrowd'])}. Correct it."
                refuse("annotation", folder / images[image]["file_name"], InputError(fault))
                continue
            used[category] += 1
            found[image].append((where, label[category], row))
    listed = sorted(images.items(), key=lambda item: item[1]["file_name"])
    places = [(_below(row["file_name"], folder), f"{path}, image {number}") for number, row in listed]
    read: dict[str, CocoImage] = {}
    files = files_inside(folder, places)
    for index, (file, (number, row), (name, where)) in enumerate(zip(files, listed, places, strict=True)):
        if not files.has(index):
            continue
        image = CocoImage(file, name, where, stated_size(row.get("height"), row.get("width")), found[number])
        if (before := read.setdefault(normpath(file), image)) is not image:
            before.annotations.extend(found[number])
    if twice := sum(map(files.has, range(len(files)))) - len(read):
        are = f"{counted(twice, 'image')} {verb(twice, 'is', 'are')}"
        rank_zero_warn(f"{path}: {are} listed twice; the annotations are joined.")
    copies = sum(map(_drop_copies, read.values()))
    warn_of_repeats(path, copies, "annotation", "the same image, class, box and outline as")
    return _names(categories, used, path), list(read.values())


def _below(name: str, folder: Path) -> str:
    """Returns a name without the `../` in front of it, as Label Studio writes, if such a file is in the folder."""
    plain = re.sub(r"^(\.\.[/\\])+", "", name)
    return plain if plain != name and isfile(folder / plain.replace("\\", "/")) else name


def _names_of(path: Path) -> list[str]:
    """Returns the names of the classes of another file."""
    key = path, path.stat().st_mtime_ns
    if key not in _NAMES:
        content = read_content(path)
        used = Counter[Id](to_id(row.get("category_id")) for row in content["annotations"])
        _names(by_id(content["categories"], path, "category", "name"), used, path)
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
        refuse("class", path, InputError(f"{path}: two categories share a name: {sorted(names)}."))
        names = [*dict.fromkeys(names)]
    _NAMES[path, path.stat().st_mtime_ns] = names
    return names


def _drop_copies(image: CocoImage) -> int:
    """Removes annotations of the same class, box and outline as one before them, and returns their number."""
    count = len(image.annotations)
    if len({(name, repr(row.get("bbox"))) for _, name, row in image.annotations}) < count:  # outlines may be long
        shapes = [repr((name, *map(row.get, SHAPE))) for _, name, row in image.annotations]
        image.annotations[:] = first_of_each(image.annotations, shapes)
    note_repeats(image.path, image.where, twice := count - len(image.annotations), "annotation")
    return twice


def _drop_unknown(image: CocoImage, names: Sequence[str], train: Path) -> None:
    """Removes annotations of categories that train does not have; see `refuse`."""
    for where, name, _ in image.annotations:
        if name not in names:
            fault = f"{where}: category {name!r} is not in {train}, which has {[*names]}."
            refuse("class", image.path, InputError(fault))
    image.annotations[:] = [row for row in image.annotations if row[1] in names]


def _warn_of_others(images: Sequence[CocoImage], class_names: list[str], path: Path) -> None:
    others = Counter(name for image in images for _, name, _ in image.annotations if name not in class_names)
    if others:
        names = ", ".join(f"{name} ({count})" for name, count in others.most_common(3))
        rank_zero_warn(f"{path}: {others.total()} annotations are not of `class_names` and left out: {names} ...")


def _boxes(image: CocoImage, names: Sequence[str], objects: OnSeveralObjects, masks: bool) -> list[Annotation]:
    """Returns the objects of an image, and its crowds, if they are wanted: for `labels` without a box."""
    found = []
    for where, name, row in image.annotations:
        crowd = bool(row.get("iscrowd"))
        if name not in names or (crowd and objects not in ("labels", "all")):
            continue
        box = None
        if not crowd or objects == "all":
            expected = "bbox must be four numbers, x, y, width, height"
            if (numbers := usable("box", image.path, four_numbers, row.get("bbox"), where, expected)) is None:
                continue
            x, y, width, height = numbers
            box = x, y, x + width, y + height
        found.append(Annotation(name, box, where, crowd, row.get("segmentation") if masks else None))
    return found
