"""Images listed in a CSV table, with labels, boxes or numbers."""

from collections.abc import Callable
from os.path import normpath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.copies import without_copies
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Box, Record, files_inside, four_numbers
from visiontasks.data.datasets.rows import Row, decisions, numbers, occurring, parts, read_rows, sorted_labels
from visiontasks.data.splits import SPLITS, MissingSplit, Splits, split_of

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


class Listed(NamedTuple):
    """An image in a table: the place of its first row, this row, its objects and other targets, and repeated rows."""

    where: str
    row: Row
    annotations: list[Annotation]
    others: dict[str, Any]
    repeated: int = 0


class CsvTable(ObjectSet):
    """Images listed in a CSV file with a header line, with their labels and, in further columns, boxes or numbers.

    Commas, semicolons or tabs separate the columns. Labels are names or numbers; the classes are the labels that occur,
    in alphabetical (or numerical) order. Columns xmin, ymin, xmax and ymax are a box in pixels, empty if there is no
    box; several rows of one image are then its objects. Without boxes, an image has one label, and it is an error if
    two rows contradict each other. `value_columns` are numbers per image, empty if unknown.
    Several labels per image are columns of 0 and 1 or a list in the label column. With either, a label is optional.

    Args:
        split: train, val or test.
        path: The CSV file.
        root: Folder that image paths are relative to; by default the folder of the CSV file.
        path_column: Column of the image path.
        label_column: Column of the label.
        split_column: Column with train, val or test, in any spelling; by default `split` if the table has it.
        group_column: If given, column of a group (patient, video ...) that is never in two splits.
        splits: How a table without a split column is divided.
        class_names: If given, the classes and their order; any other label is an error.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        value_columns: Columns of numbers to predict, the `value` of an image.
        labels_columns: Columns of 0 and 1, empty if unknown, one per class: the `labels` of an image.
        labels_separator: If given, the separator of several classes in the label column, such as `;`.
    """

    def __init__(
        self,
        split: str,
        path: str,
        root: str | None = None,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str | None = None,
        group_column: str | None = None,
        splits: Splits = Splits(),
        class_names: list[str] | None = None,
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        value_columns: list[str] = [],  # noqa: B006 - never changed, and jsonargparse shows it
        labels_columns: list[str] = [],  # noqa: B006
        labels_separator: str | None = None,
    ) -> None:
        folder = Path(root) if root else Path(path).parent
        by_objects = objects == "labels"
        if bool(labels_columns) + bool(labels_separator) + by_objects > 1:
            raise InputError(f"{path}: labels_columns, labels_separator and `objects: labels` exclude each other.")
        optional = [*value_columns, *labels_columns, *([label_column] if labels_separator else [])]
        required = [path_column] if optional else [path_column, label_column]
        placed = read_rows(path, [*required, *filter(None, (split_column, group_column))], optional)
        rows = list(placed.values())
        has_labels = label_column in rows[0] and not labels_separator
        has_boxes = all(column in rows[0] for column in BOX_COLUMNS)
        found = class_names or (_classes(placed, label_column) if has_labels else [])
        if has_labels:
            check_class_names(found, path, fewest=1 if has_boxes else 2)
        names = labels_columns
        if labels_separator:
            listed = {part for row in rows for part in parts(row[label_column], labels_separator)}
            names, found = class_names or sorted_labels(listed), []
        if names:
            check_class_names(names, path, fewest=1)
        known = set(found)

        def read(row: Row, where: str) -> tuple[list[Annotation], dict[str, Any]]:
            others = {"value": numbers(row, value_columns, where)} if value_columns else {}
            if labels_separator:
                others["labels"] = occurring(row[label_column], labels_separator, names, where)
            elif labels_columns:
                others["labels"] = decisions(row, labels_columns, where)
            if not has_labels or (optional and not row[label_column]):
                return [], others
            if row[label_column] not in known:
                raise InputError(f"{where}: {label_column} {row[label_column]!r} is not one of {found}.")
            return [Annotation(row[label_column], _box(row, where) if has_boxes else None, where)], others

        listed = _images(placed, path_column, read, several=has_boxes or by_objects)
        order = {name: number for number, name in enumerate(found)}
        labels = [order[i.annotations[0].label] if i.annotations else len(found) for i in listed]
        column = split_column or "split"
        if column in rows[0]:
            sides = _sides(placed, column, path_column, group_column)
            splits.log_unused(split, f"{path} has a column {column!r}")
            chosen = needed = [i for i, image in enumerate(listed) if sides[image.where] == split]
            if not chosen:
                raise MissingSplit(f"{path}: no row of the split {split!r}; there are {sorted({*sides.values()})}.")
        else:
            if split == "train":
                _warn_of_splits(rows, path)
            groups = [image.row[group_column] for image in listed] if group_column else None
            chosen = splits.indices(split, labels, groups).tolist()
            needed = list(range(len(listed))) if split == "train" else chosen
        if split == "train" and (repeated := sum(image.repeated for image in listed)):
            rank_zero_warn(f"{path}: {repeated} rows say the same as a row before them and do not count.")
        places = ((listed[i].row[path_column], listed[i].where) for i in needed)
        files = files_inside(folder, places)
        if len(files) == len(listed):
            chosen = without_copies(split, files, chosen, labels)
        paths = dict(zip(needed, files.names, strict=True))
        used = ((paths[i], listed[i]) for i in chosen)
        records = [Record(file, i.row[path_column], i.annotations, i.others) for file, i in used]
        super().__init__(records, found, objects, boxes)
        self.value_names = value_columns
        self.labels_names = names or self.labels_names


def _classes(rows: dict[str, Row], column: str) -> list[str]:
    found = {row[column] for row in rows.values()} - {""}
    if found and all(map(_is_number, found)) and not all(label.isdecimal() for label in found):
        where, row = next((where, row) for where, row in rows.items() if not (row[column] or "0").isdecimal())
        advice = "If it is a class, list all in `class_names`; if these are numbers to predict, use `value_columns`."
        raise InputError(f"{where}: {column} {row[column]!r} is not 0, 1, 2, ..., as a class is. {advice}")
    return sorted_labels(found)


def _is_number(text: str) -> bool:
    try:
        return float(text) is not None
    except ValueError:
        return False


def _plain(name: str) -> str:
    """Returns the same text for all ways to write the path of one file."""
    return normpath(name.replace("\\", "/")) if "\\" in name or "./" in name or "//" in name else name


def _images(
    rows: dict[str, Row], name: str, read: Callable[[Row, str], tuple[list[Annotation], dict[str, Any]]], several: bool
) -> list[Listed]:
    """Joins the rows of each image, which may have `several` labels; rows that contradict each other are an error."""
    images: dict[str, Listed] = {}
    for where, row in rows.items():
        annotations, others = read(row, where)
        image = images.get(key := _plain(row[name]))
        if image is None:
            images[key] = Listed(where, row, annotations, others)
            continue
        new = [one for one in annotations if all(one[:2] != known[:2] for known in image.annotations)]
        odd = [key for key in others if not np.array_equal(others[key], image.others[key], equal_nan=True)]
        if odd or (new and not several):
            fault = f"the {odd[0] if odd else 'label'} of this image differs from that in {image.where}"
            raise InputError(f"{where}: {fault}. Correct or remove one of the rows.")
        image.annotations.extend(new)
        images[key] = image._replace(repeated=image.repeated + (not new))
    return list(images.values())


def _sides(rows: dict[str, Row], column: str, name: str, group: str | None) -> dict[str, str]:
    """Returns the split of each row; an image or a group in two splits is an error."""
    seen: dict[tuple[str, str], str] = {}
    sides = {}
    for where, row in rows.items():
        if (side := split_of(row[column])) is None:
            raise InputError(f"{where}: split {row[column]!r} is not one of {', '.join(SPLITS)}.")
        for what in filter(None, (name, group)):
            if (before := seen.setdefault((what, _plain(row[what])), side)) != side:
                kind = "group" if what == group else what
                raise InputError(f"{where}: {kind} {row[what]!r} is in {side} and in {before}. Remove one of them.")
        sides[where] = side
    return sides


def _warn_of_splits(rows: list[Row], path: str) -> None:
    """Names a column that holds splits, but is not used."""
    for column in rows[0]:
        values = {row[column] for row in rows}
        if 1 < len(values) <= len(SPLITS) and "train" in (found := {*map(split_of, values)}) and None not in found:
            rank_zero_warn(f"{path}: the splits in column {column!r} are not used. Set `split_column: {column}`.")


def _box(row: Row, where: str) -> Box | None:
    texts = [row[column] for column in BOX_COLUMNS]
    expected = f"{', '.join(BOX_COLUMNS)} must be numbers, or all be empty"
    return four_numbers(texts, where, expected) if any(texts) else None
