"""COCO's JSON files, and the boxes in them."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.data.datasets.objects import (
    Annotation,
    ObjectSet,
    OnInvalidBox,
    OnSeveralObjects,
    Record,
    file_inside,
    stated_size,
)
from visiontasks.data.splits import SPLITS, MissingSplit, Splits


class CocoImage(NamedTuple):
    """An image file, its name in the set, where that is written, the stated size, and its annotations.

    Of an annotation: where it is written, and the object that stands there.
    """

    path: Path
    name: str
    where: str
    size: tuple[int, int] | None
    annotations: list[tuple[str, dict[str, Any]]]


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
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        splits: Splits = Splits(),
    ) -> None:
        names, found, chosen = read_coco(split, annotations, images, splits)
        records = [
            Record(
                image.path,
                image.name,
                [
                    Annotation(names[row["category_id"]], _box(row.get("bbox"), where), where)
                    for where, row in image.annotations
                    if not row.get("iscrowd")
                ],
                image.size,
            )
            for image in found
        ]
        others = set(range(len(records))) - set(chosen) if split == "train" else set()
        held_out = [records[i].path for i in sorted(others)]
        super().__init__([records[i] for i in chosen], list(names.values()), objects, boxes, held_out)


def read_coco(
    split: str, annotations: str, images: str, splits: Splits
) -> tuple[dict[int, str], list[CocoImage], list[int]]:
    """Reads the COCO file of a split; the arguments are those of `CocoBoxes`.

    Returns:
        The names of the categories by their ids, ascending; all images of the file in string order of their names;
        and the places of those that belong to the split, ascending.

    Raises:
        MissingSplit: There is no such split.
        InputError: The file, an id or a file name is wrong; the message says which.
    """
    by_file = "{split}" in annotations
    path, folder = (Path(text.replace("{split}", split)) for text in (annotations, images))
    if by_file and not path.is_file():
        others = [name for name in SPLITS if Path(annotations.replace("{split}", name)).is_file()]
        if not others:
            raise InputError(f"{path}: no such file, nor one of another split.")
        raise MissingSplit(f"{path}: no such file; there are {', '.join(others)}.")
    if by_file and split == "train" and splits != Splits():
        rank_zero_info(f"{annotations} has a file a split, so {splits} is not used.")
    names, found = _read(path, folder)
    if by_file:
        return names, found, list(range(len(found)))
    places = {number: place for place, number in enumerate(names)}
    first = [next((row for _, row in image.annotations if not row.get("iscrowd")), None) for image in found]
    labels = [places[row["category_id"]] if row else -1 for row in first]
    return names, found, splits.indices(split, labels).tolist()


def _read(path: Path, folder: Path) -> tuple[dict[int, str], list[CocoImage]]:
    """The names of the categories by their ids, ascending, and all images in string order of their names."""
    content = _load(path)
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: not a COCO file: {key!r} must be a list of objects.")
    categories = _by_id(content["categories"], path, "category", "name")
    names = {number: str(categories[number]["name"]) for number in sorted(categories)}
    if len(set(names.values())) < len(names):
        raise InputError(f"{path}: two categories have one name: {sorted(names.values())}.")
    images = _by_id(content["images"], path, "image", "file_name")
    found: dict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for row in content["annotations"]:
        where = f"{path}, annotation {row.get('id')!r}"
        for key, known in (("image_id", images), ("category_id", categories)):
            if not isinstance(row.get(key), int) or row[key] not in known:
                raise InputError(
                    f"{where}: {key} {row.get(key)!r} is not an id of this file. Correct it or remove the annotation."
                )
        found[row["image_id"]].append((where, row))
    read = []
    for number, row in sorted(images.items(), key=lambda item: str(item[1]["file_name"])):
        name, where = str(row["file_name"]), f"{path}, image {number}"
        size = stated_size(row.get("height"), row.get("width"))
        read.append(CocoImage(file_inside(folder, name, where), name, where, size, found[number]))
    return names, read


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
