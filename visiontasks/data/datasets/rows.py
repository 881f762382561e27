"""Rows of a CSV file, and the numbers and names in their cells."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.faults import UnknownClass, is_refused, refuse
from visiontasks.core.text import is_missing, normal
from visiontasks.data.datasets.table_text import JSON_LINES, read_table

Row = dict[str, str]


def read_rows(
    path: str, required: Sequence[str], optional: Sequence[str], columns: Sequence[str] | None = None
) -> dict[str, Row]:
    """Reads the rows by their places in the file, for messages.

    Commas, semicolons or tabs separate the columns; Excel's first line `sep=;` may say which. The first line has their
    names, unless these are given as `columns`. JSON lines and CelebA's lists are read too; see `read_table`.

    Raises:
        InputError: A column is missing or there twice, a required cell is empty, or the file cannot be read.
    """
    text = read_table(path)
    lines = io.StringIO(text, newline="")
    header = lines.readline()
    if stated := re.fullmatch("sep=(.)\n", header):
        start, divider = lines.tell(), stated[1]
    else:
        start, divider = 0, max(",;\t", key=header.count)
    lines.seek(start)
    csv.field_size_limit(max(len(text), csv.field_size_limit()))  # the columns that are not read may be long
    reader = csv.reader(lines, delimiter=divider)
    given = "header" if columns is None else "list `columns`"
    columns = [*map(normal, next(reader, []) if columns is None else columns)]
    if missing := [column for column in [*required, *optional] if column not in columns]:
        advice = "" if given != "header" else " If the table has no line with their names, set `columns` to them."
        raise InputError(f"{path}: no column {missing[0]!r}; the {given} has {columns}.{advice}")
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise InputError(f"{path}: the column {twice[0]!r} occurs twice. Rename or remove one.")
    plain = str.strip if text.isascii() else normal
    rows: dict[str, Row] = {}
    skipped = bool(start) - path.lower().endswith(JSON_LINES)  # lines that the reader does not count
    last = reader.line_num
    for cells in reader:
        where, last = f"{path}, line {last + 1 + skipped}", reader.line_num  # a cell may have several lines
        if not any(cells):
            continue
        if not rows and given != "header" and [*map(normal, cells)] == columns:
            raise InputError(f"{where}: the first line has the names of the columns. Remove `columns`.")
        if len(cells) != len(columns):
            fault = f"expected {len(columns)} columns as in the {given}, found {len(cells)}"
            refuse("annotation", path, InputError(f"{where}: {fault}. Put quotes around a cell with {divider!r}."))
            continue
        row = dict(zip(columns, map(plain, cells), strict=True))
        if column := next((name for name in required if is_missing(row[name])), None):
            found = f"{row[column]!r}, a missing value" if row[column] else "empty"
            refuse("annotation", path, InputError(f"{where}: {column} is {found}. Fill it in, or remove the row."))
            continue
        rows[where] = row
    if not rows:
        usable = "usable " if is_refused(path) else ""
        raise InputError(f"{path}: the table has {'a header but ' if given == 'header' else ''}no {usable}rows.")
    return rows


def numbers(row: Row, columns: Sequence[str], where: str) -> np.ndarray:
    """Returns the numbers of one row, float32 (columns,), NaN where a cell is empty."""
    try:
        found = np.array([float(row[column] or "nan") for column in columns], np.float64).astype(np.float32)
        if all(np.isfinite(value) or not row[column] for column, value in zip(columns, found, strict=True)):
            return found
    except ValueError:
        pass
    cells = [row[column] for column in columns]
    raise InputError(f"{where}: {', '.join(columns)} must be numbers, or empty; found {cells}.") from None


def without_signs(rows: Iterable[Row], columns: Sequence[str]) -> bool:
    """Replaces -1 by 0 in columns of 1 and -1, and returns whether they are such; with a 0, -1 may mean unknown."""
    rows = list(rows)
    if not {"-1"} <= {row[column] for row in rows for column in columns} <= {"-1", "1", ""}:
        return False
    for row in rows:
        row.update({column: "0" for column in columns if row[column] == "-1"})
    return True


def decisions(row: Row, columns: Sequence[str], where: str) -> np.ndarray:
    """Returns the labels of one row in columns of 0 and 1, float32 (columns,), NaN where a cell is empty."""
    labels = numbers(row, columns, where)
    if (wrong := np.isfinite(labels) & (labels != 0) & (labels != 1)).any():
        column = columns[int(wrong.argmax())]
        raise InputError(f"{where}: {column} must be 0, 1 or empty; found {row[column]!r}.")
    return labels


def parts(cell: str, separator: str) -> list[str]:
    """Returns the names in a cell."""
    return [part.strip() for part in cell.split(separator) if part.strip()]


def occurring(cell: str, separator: str, names: Sequence[str], where: str) -> np.ndarray:
    """Returns which names occur in a cell: float32 (names,)."""
    found = parts(cell, separator)
    if unknown := [part for part in found if part not in names]:
        raise UnknownClass(f"{where}: {unknown[0]!r} is not one of {names}.")
    return np.array([name in found for name in names], np.float32)


def sorted_labels(found: set[str]) -> list[str]:
    """Sorts labels by name, or by number if all are numbers."""
    labels = sorted(found)  # first, because "1" and "01" are equal numbers and a set has no order
    return sorted(labels, key=int) if all(label.isdecimal() for label in labels) else labels
