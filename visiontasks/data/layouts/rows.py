"""Tables of images: their cells, and which column holds the paths."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from visiontasks.core.errors import InputError
from visiontasks.core.text import normal, read_text
from visiontasks.data.layouts.base import LOOKED_AT, Listing, above_all, joined, most_common
from visiontasks.data.splits import without_split

SUFFIXES = (".csv", ".tsv", ".txt")
SHARE = 0.9  # of the cells of a column that must be paths of images
ROWS = 5000  # rows that are read to know the columns


@dataclass(frozen=True)
class Table:
    """A table whose column `path` names images.

    Attributes:
        name: The file.
        header: Names of the columns; None if the file has no header line.
        columns: The cells of each column.
        path: Place of the column of the paths.
        folder: The folder that the paths are relative to, below the folder of the set; it ends with `**` if the images
            are in several folders below it.
        extension: What the paths lack at their end, such as `.jpg`.
    """

    name: str
    header: list[str] | None
    columns: list[list[str]]
    path: int
    folder: str
    extension: str


def tables(files: Listing) -> Iterator[Table]:
    """Finds the tables of a set: those at the top first, and of these the one of the training images."""
    for name in sorted(files.ending(*SUFFIXES), key=_order):
        if rows := _rows(files, name):
            columns = [list(column) for column in zip(*rows, strict=True)]
            places = [_place(files, column[1:]) for column in columns]
            found = [(number, place) for number, place in enumerate(places) if place]
            if not found:
                continue
            number, (folder, extension) = found[0]
            headless = _place(files, columns[number][:1]) is not None
            header = None if headless else [normal(column[0]) for column in columns]
            yield Table(
                name, header, columns if headless else [column[1:] for column in columns], number, folder, extension
            )


def _order(name: str) -> tuple[int, bool, bool, str]:
    split = without_split(name)[1]
    return name.count("/"), split != "train", split == "test" or "submission" in name.lower(), name


def _rows(files: Listing, name: str) -> list[list[str]]:
    """Reads the first rows of a file; none if it is no table."""
    try:
        lines = read_text(files.path(name)).splitlines()[: ROWS + 1]
    except InputError:
        return []
    lines = lines[1:] if lines and lines[0].startswith("sep=") else lines
    divider = max(",;\t", key=lines[0].count) if lines else ","
    try:
        rows = [[normal(cell) for cell in row] for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=divider)]
    except csv.Error:
        return []
    rows = [row for row in rows if any(row)]
    return rows if len(rows) > 2 and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows) else []


def _place(files: Listing, cells: list[str]) -> tuple[str, str] | None:
    """Returns the folder and the extension with which cells are the paths of images; None if they are not.

    The folder is that above all images and ends with `**` if they are in several.
    """
    some = cells[:: max(1, len(cells) // LOOKED_AT)]
    found = [place for cell in some if (place := _where(files, cell)) is not None]
    if not found or len(found) < SHARE * len(some):
        return None
    best = most_common(found)
    if found.count(best) >= SHARE * len(found):
        return best
    above = above_all(f"{folder}/" for folder, _ in found)
    return joined(above, "**"), most_common(extension for _, extension in found)


def _where(files: Listing, cell: str) -> tuple[str, str] | None:
    name = cell.replace("\\", "/").removeprefix("./")
    last = name.rpartition("/")[2]
    for path in files.by_name.get(last, []):
        if f"/{path}".endswith(f"/{name}"):
            return path[: -len(name)].rstrip("/"), ""
    for path in files.by_stem.get(last, []) if name else []:
        above, _, extension = path.rpartition(".")
        if f"/{above}".endswith(f"/{name}"):
            return above[: -len(name)].rstrip("/"), f".{extension}"
    return None


def first_line(files: Listing, name: str) -> str:
    """Returns the first line of a text file; empty if it cannot be read."""
    try:
        return read_text(files.path(name)).partition("\n")[0]
    except InputError:
        return ""
