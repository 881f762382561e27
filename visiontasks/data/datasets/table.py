"""A CSV table of image files and labels."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.data.datasets.base import VisionDataset, check_class_names
from visiontasks.data.images import read_image
from visiontasks.data.splits import SPLITS, MissingSplit, Splits
from visiontasks.samples import InputError


class CsvTable(VisionDataset):
    """Images and labels listed in a CSV file with a header line.

    Commas, semicolons or tabs may divide the columns. Labels are names or numbers; the classes are
    the labels that occur, in alphabetical (or numerical) order.

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
    ) -> None:
        self.path = Path(path)
        self.root = Path(root) if root else self.path.parent
        required = [path_column, label_column, *filter(None, (split_column, group_column))]
        rows = _read_rows(self.path, required)
        labels = [row[label_column] for row in rows]
        self.class_names = class_names or _sorted_labels(set(labels))
        check_class_names(self.class_names, path)
        indices = {name: index for index, name in enumerate(self.class_names)}
        for number, label in enumerate(labels):
            if label not in indices:
                raise InputError(
                    f"{path}, row {number + 2}: {label_column} {label!r} is not one of {self.class_names}."
                )
        groups = [row[group_column] for row in rows] if group_column else None
        column = split_column or "split"
        if column in rows[0]:
            chosen = self._by_column(split, [row[column] for row in rows], groups)
        else:
            chosen = splits.indices(split, [indices[label] for label in labels], groups)
        self._names = [rows[i][path_column] for i in chosen]
        self._labels = [indices[labels[i]] for i in chosen]
        self._check_files(chosen)

    def __len__(self) -> int:
        return len(self._names)

    def image(self, index: int) -> np.ndarray:
        return read_image(self.root / self._names[index])

    def target(self, index: int) -> dict[str, Any]:
        return {"label": self._labels[index]}

    def name(self, index: int) -> str:
        return self._names[index]

    def _by_column(self, split: str, column: list[str], groups: list[str] | None) -> list[int]:
        seen: dict[str, str] = {}
        for number, value in enumerate(column):
            where = f"{self.path}, row {number + 2}"
            if value not in SPLITS:
                raise InputError(f"{where}: split {value!r} is not one of {', '.join(SPLITS)}.")
            if groups and seen.setdefault(groups[number], value) != value:
                raise InputError(f"{where}: group {groups[number]!r} is in {value} and in {seen[groups[number]]}.")
        chosen = [number for number, value in enumerate(column) if value == split]
        if not chosen:
            raise MissingSplit(f"{self.path}: no row of the split {split!r}; there are {sorted(set(column))}.")
        return chosen

    def _check_files(self, rows: Any) -> None:
        root = self.root.resolve()
        for number, name in zip(rows, self._names, strict=True):
            where = f"{self.path}, row {number + 2}"
            if "\0" in name or not (root / name).resolve().is_relative_to(root):
                raise InputError(f"{where}: {name!r} leaves {self.root}. Set `root` to a folder above the images.")
            if not (root / name).is_file():
                raise InputError(f"{where}: no such file: {self.root / name}.")


def _read_rows(path: Path, required: list[str]) -> list[dict[str, str]]:
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets put a byte order mark first
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}. Save the table as UTF-8.") from None
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    for column in required:
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
