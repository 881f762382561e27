"""A CSV table of image files, labels and perhaps boxes."""

import csv
import io
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.objects import (
    Annotation,
    Box,
    ObjectSet,
    OnInvalidBox,
    OnSeveralObjects,
    Record,
    file_inside,
)
from visiontasks.data.splits import SPLITS, MissingSplit, Splits

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


class CsvTable(ObjectSet):
    """Images and labels listed in a CSV file with a header line, and boxes if it has such columns.

    Commas, semicolons or tabs may divide the columns. Labels are names or numbers; the classes are
    the labels that occur, in alphabetical (or numerical) order. Columns xmin, ymin, xmax and ymax are a box in
    pixels, empty where there is none; rows of one image are then its objects. `value_columns` are numbers per image,
    empty where one is unknown; several labels per image are columns of 0 and 1 or a list in the label column. A table
    with either needs no label.

    Args:
        split: train, val or test.
        path: The CSV file.
        root: Folder that the image paths start from; the CSV file's folder if not given.
        path_column: Column of the image path.
        label_column: Column of the label.
        split_column: Column that says train, val or test; if not given, `split` where the table has it.
        group_column: If given, column of a group (patient, video ...) that never lies in two splits.
        splits: How a table without a split column is divided.
        class_names: If given, the classes and their order; any other label is an error.
        objects: Of several objects take the `largest` box or the `first`, `skip` the image, or raise an `error`.
        boxes: A box that is not inside its image is an `error`, or is clipped to it; what then has no area is dropped.
        value_columns: Columns of numbers to predict, the `value` of an image.
        labels_columns: Columns of 0 and 1, empty where it is unknown, one per class: the `labels` of an image.
        labels_separator: If given, what separates several classes in the label column, such as `;`.

    Raises:
        MissingSplit: There is no such split.
        InputError: A column, value or image file is missing or wrong; the message names the row.
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
        optional = [*value_columns, *labels_columns, *([label_column] if labels_separator else [])]
        required = [path_column, *([] if optional else [label_column])]
        rows = _read_rows(path, [*required, *filter(None, (split_column, group_column))], optional)
        has_labels = label_column in rows[0] and not labels_separator
        has_boxes = all(column in rows[0] for column in BOX_COLUMNS)
        found = class_names or _sorted_labels({row[label_column] for row in rows} - {""} if has_labels else set())
        if has_labels and not has_boxes:  # one class and a box is localization
            check_class_names(found, path)
        names = labels_columns
        if labels_separator:
            parts = {part for row in rows for part in _parts(row[label_column], labels_separator)}
            names = class_names or _sorted_labels(parts)
            found = []
        records: dict[str, Record] = {}
        first: list[int] = []  # row of each record
        for number, row in enumerate(rows):
            where, name = f"{path}, row {number + 2}", row[path_column]
            key = name if has_boxes else where
            if key not in records:
                others = {"value": _numbers(row, value_columns, where)} if value_columns else {}
                if labels_separator:
                    others["labels"] = _listed(row[label_column], labels_separator, names, where)
                elif labels_columns:
                    others["labels"] = _decisions(row, labels_columns, where)
                records[key] = Record(folder / name, name, [], others=others)
                first.append(number)
            if not has_labels or (optional and not row[label_column]):
                continue
            if row[label_column] not in found:
                raise InputError(f"{where}: {label_column} {row[label_column]!r} is not one of {found}.")
            box = _box(row, where) if has_boxes else None
            records[key].annotations.append(Annotation(row[label_column], box, where))
        listed = list(records.values())
        groups = [rows[i][group_column] for i in first] if group_column else None
        column = split_column or "split"
        if column in rows[0]:
            _check_splits(rows, column, path_column if has_boxes else None, group_column, path)
            if split == "train" and splits != Splits():
                rank_zero_info(f"{path} has a column {column!r}, so {splits} is not used.")
            chosen = [i for i, number in enumerate(first) if rows[number][column] == split]
            if not chosen:
                names = sorted({row[column] for row in rows})
                raise MissingSplit(f"{path}: no row of the split {split!r}; there are {names}.")
        else:
            labels = [found.index(r.annotations[0].label) if r.annotations else len(found) for r in listed]
            chosen = splits.indices(split, labels, groups).tolist()
        divided = has_boxes and split == "train" and column not in rows[0]
        held_out = sorted(set(range(len(listed))) - set(chosen)) if divided else []
        for i in [*chosen, *held_out]:
            file_inside(folder, listed[i].name, f"{path}, row {first[i] + 2}")
        paths = [listed[i].path for i in held_out]
        super().__init__([listed[i] for i in chosen], found, objects, boxes, paths)
        self.value_names = value_columns
        self.labels_names = names or self.labels_names


def _check_splits(rows: list[dict[str, str]], column: str, name: str | None, group: str | None, path: str) -> None:
    seen: dict[tuple[str, str], str] = {}
    for number, row in enumerate(rows):
        where, value = f"{path}, row {number + 2}", row[column]
        if value not in SPLITS:
            raise InputError(f"{where}: split {value!r} is not one of {', '.join(SPLITS)}.")
        for what in filter(None, (name, group)):
            if (before := seen.setdefault((what, row[what]), value)) != value:
                raise InputError(
                    f"{where}: {'group' if what == group else what} {row[what]!r} is in {value} and in {before}."
                )


def _box(row: dict[str, str], where: str) -> Box | None:
    texts = [row[column] for column in BOX_COLUMNS]
    if not any(texts):
        return None
    try:
        x1, y1, x2, y2 = map(float, texts)
    except ValueError:
        raise InputError(
            f"{where}: {', '.join(BOX_COLUMNS)} must be numbers, or all be empty; found {texts}."
        ) from None
    return x1, y1, x2, y2


def _numbers(row: dict[str, str], columns: list[str], where: str) -> np.ndarray:
    """The numbers of one image, float32 (columns,), NaN where a cell is empty."""
    try:
        return np.array([float(row[column] or "nan") for column in columns], np.float32)
    except ValueError:
        found = [row[column] for column in columns]
        raise InputError(f"{where}: {', '.join(columns)} must be numbers, or empty; found {found}.") from None


def _decisions(row: dict[str, str], columns: list[str], where: str) -> np.ndarray:
    """The labels of one image in columns of 0 and 1, float32 (columns,), NaN where a cell is empty."""
    labels = _numbers(row, columns, where)
    if (strange := np.isfinite(labels) & (labels != 0) & (labels != 1)).any():
        column = columns[int(strange.argmax())]
        raise InputError(f"{where}: {column} must be 0, 1 or empty; found {row[column]!r}.")
    return labels


def _parts(cell: str, separator: str) -> list[str]:
    return [part.strip() for part in cell.split(separator) if part.strip()]


def _listed(cell: str, separator: str, names: list[str], where: str) -> np.ndarray:
    """The labels of one image in a list, float32 (names,)."""
    parts = _parts(cell, separator)
    if unknown := [part for part in parts if part not in names]:
        raise InputError(f"{where}: {unknown[0]!r} is not one of {names}.")
    return np.array([name in parts for name in names], np.float32)


def _read_rows(path: str, required: list[str], optional: list[str]) -> list[dict[str, str]]:
    """Reads the rows; cells of the required columns must not be empty, those of the optional ones may be."""
    try:
        text = Path(path).read_text("utf-8-sig")  # spreadsheets put a byte order mark first
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}. Save the table as UTF-8.") from None
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    for column in [*required, *optional]:
        if column not in (reader.fieldnames or ()):
            raise InputError(f"{path}: no column {column!r}; the header has {list(reader.fieldnames or ())}.")
    rows = []
    for row in reader:
        number = reader.line_num
        if None in row or None in row.values():
            raise InputError(f"{path}, row {number}: expected {len(reader.fieldnames or ())} columns as in the header.")
        for column in required:
            if not row[column].strip():
                raise InputError(f"{path}, row {number}: {column} is empty.")
        rows.append({column: value.strip() for column, value in row.items()})
    if not rows:
        raise InputError(f"{path}: the table has a header but no rows.")
    return rows


def _sorted_labels(found: set[str]) -> list[str]:
    labels = sorted(found)  # first: "1" and "01" are equal numbers, and a set has no order
    return sorted(labels, key=int) if all(label.isdecimal() for label in labels) else labels
