"""Images listed in a CSV table, with labels, boxes or numbers."""

import csv
import io
from pathlib import Path

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_text
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Box, Record, file_inside, four_numbers, without_copies
from visiontasks.data.splits import SPLITS, MissingSplit, Splits

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
Row = dict[str, str]


class CsvTable(ObjectSet):
    """Images listed in a CSV file with a header line, with their labels and, in further columns, boxes or numbers.

    Commas, semicolons or tabs separate the columns. Labels are names or numbers; the classes are the labels that occur,
    in alphabetical (or numerical) order. Columns xmin, ymin, xmax and ymax are a box in pixels, empty if there is no
    box; several rows of one image are then its objects. `value_columns` are numbers per image, empty if unknown.
    Several labels per image are columns of 0 and 1 or a list in the label column. With either, a label is optional.

    Args:
        split: train, val or test.
        path: The CSV file.
        root: Folder that image paths are relative to; by default the folder of the CSV file.
        path_column: Column of the image path.
        label_column: Column of the label.
        split_column: Column with train, val or test; by default `split` if the table has it.
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
        placed = _read_rows(path, [*required, *filter(None, (split_column, group_column))], optional)
        rows = list(placed.values())
        has_labels = label_column in rows[0] and not labels_separator
        has_boxes = all(column in rows[0] for column in BOX_COLUMNS)
        several = has_boxes or by_objects  # rows of one image
        found = class_names or _sorted_labels({row[label_column] for row in rows} - {""} if has_labels else set())
        if has_labels and not has_boxes:  # with boxes, one class is enough
            check_class_names(found, path)
        names = labels_columns
        if labels_separator:
            parts = {part for row in rows for part in _parts(row[label_column], labels_separator)}
            names, found = class_names or _sorted_labels(parts), []
        records: dict[str, Record] = {}
        first: list[tuple[str, Row]] = []  # place and first row of each record
        for where, row in placed.items():
            name = row[path_column]
            key = name if several else where
            if key not in records:
                others = {"value": _numbers(row, value_columns, where)} if value_columns else {}
                if labels_separator:
                    others["labels"] = _listed(row[label_column], labels_separator, names, where)
                elif labels_columns:
                    others["labels"] = _decisions(row, labels_columns, where)
                records[key] = Record(folder / name, name, [], others=others)
                first.append((where, row))
            if has_labels and (row[label_column] or not optional):
                if row[label_column] not in found:
                    raise InputError(f"{where}: {label_column} {row[label_column]!r} is not one of {found}.")
                box = _box(row, where) if has_boxes else None
                records[key].annotations.append(Annotation(row[label_column], box, where))
        listed = list(records.values())
        column = split_column or "split"
        if column in rows[0]:
            _check_splits(placed, column, path_column if several else None, group_column)
            splits.log_unused(split, f"{path} has a column {column!r}")
            chosen = [i for i, (_, row) in enumerate(first) if row[column] == split]
            if not chosen:
                present = sorted({row[column] for row in rows})
                raise MissingSplit(f"{path}: no row of the split {split!r}; there are {present}.")
        else:
            labels = [found.index(r.annotations[0].label) if r.annotations else len(found) for r in listed]
            groups = [row[group_column] for _, row in first] if group_column else None
            chosen = splits.indices(split, labels, groups).tolist()
        divided = several and split == "train" and column not in rows[0]
        for i in range(len(listed)) if divided else chosen:
            file_inside(folder, listed[i].name, first[i][0])
        if divided:
            chosen = without_copies(split, [record.path for record in listed], chosen)
        super().__init__([listed[i] for i in chosen], found, objects, boxes)
        self.value_names = value_columns
        self.labels_names = names or self.labels_names


def _check_splits(rows: dict[str, Row], column: str, name: str | None, group: str | None) -> None:
    seen: dict[tuple[str, str], str] = {}
    for where, row in rows.items():
        if (value := row[column]) not in SPLITS:
            raise InputError(f"{where}: split {value!r} is not one of {', '.join(SPLITS)}.")
        for what in filter(None, (name, group)):
            if (before := seen.setdefault((what, row[what]), value)) != value:
                kind = "group" if what == group else what
                raise InputError(f"{where}: {kind} {row[what]!r} is in {value} and in {before}.")


def _box(row: Row, where: str) -> Box | None:
    texts = [row[column] for column in BOX_COLUMNS]
    expected = f"{', '.join(BOX_COLUMNS)} must be numbers, or all be empty"
    return four_numbers(texts, where, expected) if any(texts) else None


def _numbers(row: Row, columns: list[str], where: str) -> np.ndarray:
    """Returns the numbers of one image, float32 (columns,), NaN where a cell is empty."""
    try:
        return np.array([float(row[column] or "nan") for column in columns], np.float32)
    except ValueError:
        found = [row[column] for column in columns]
        raise InputError(f"{where}: {', '.join(columns)} must be numbers, or empty; found {found}.") from None


def _decisions(row: Row, columns: list[str], where: str) -> np.ndarray:
    """Returns the labels of one image in columns of 0 and 1, float32 (columns,), NaN where a cell is empty."""
    labels = _numbers(row, columns, where)
    if (wrong := np.isfinite(labels) & (labels != 0) & (labels != 1)).any():
        column = columns[int(wrong.argmax())]
        raise InputError(f"{where}: {column} must be 0, 1 or empty; found {row[column]!r}.")
    return labels


def _parts(cell: str, separator: str) -> list[str]:
    return [part.strip() for part in cell.split(separator) if part.strip()]


def _listed(cell: str, separator: str, names: list[str], where: str) -> np.ndarray:
    """Returns the labels of one image in a list: float32 (names,)."""
    parts = _parts(cell, separator)
    if unknown := [part for part in parts if part not in names]:
        raise InputError(f"{where}: {unknown[0]!r} is not one of {names}.")
    return np.array([name in parts for name in names], np.float32)


def _read_rows(path: str, required: list[str], optional: list[str]) -> dict[str, Row]:
    """Reads the rows by their places in the file; only cells of the required columns must not be empty."""
    lines = io.StringIO(read_text(path), newline=None)
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines.readline().count))
    lines.seek(0)
    columns = next(reader, [])
    if missing := [column for column in [*required, *optional] if column not in columns]:
        raise InputError(f"{path}: no column {missing[0]!r}; the header has {columns}.")
    rows: dict[str, Row] = {}
    last = reader.line_num
    for cells in reader:
        where, last = f"{path}, line {last + 1}", reader.line_num  # a cell may have several lines
        if not cells:
            continue
        if len(cells) != len(columns):
            raise InputError(f"{where}: expected {len(columns)} columns as in the header.")
        rows[where] = row = dict(zip(columns, map(str.strip, cells), strict=True))
        if empty := [column for column in required if not row[column]]:
            raise InputError(f"{where}: {empty[0]} is empty.")
    if not rows:
        raise InputError(f"{path}: the table has a header but no rows.")
    return rows


def _sorted_labels(found: set[str]) -> list[str]:
    labels = sorted(found)  # first, because "1" and "01" are equal numbers and a set has no order
    return sorted(labels, key=int) if all(label.isdecimal() for label in labels) else labels
