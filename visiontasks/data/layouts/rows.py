"""Tables of images: their cells, and which column holds the paths."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from visiontasks.core.errors import InputError
from visiontasks.core.text import normal
from visiontasks.data.datasets.table_text import read_table
from visiontasks.data.layouts.base import LOOKED_AT, Listing, above_all, joined, most_common
from visiontasks.data.splits import without_split

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")
SHARE = 0.9  # of the cells of a column that must be paths of images
ROWS = 5000  # rows that are read to know the columns


class Place(NamedTuple):
    """Where the paths of a table lead to.

    Attributes:
        folder: The folder that the paths are relative to, below the folder of the set; it ends with `**` if the images
            are in several folders below it.
        extension: What the paths lack at their end, such as `.jpg`.
        by_name: Whether the folders in the paths do not exist here, as in those of another computer.
    """

    folder: str
    extension: str
    by_name: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose column `path` names images.

    Attributes:
        name: The file.
        header: Names of the columns; None if the file has no header line.
        columns: The cells of each column.
        path: Place of the column of the paths.
        place: Where the paths lead to.
        divider: What separates the columns.
    """

    name: str
    header: list[str] | None
    columns: list[list[str]]
    path: int
    place: Place
    divider: str


def tables(files: Listing) -> Iterator[Table]:
    """Finds the tables of a set: those at the top first, and of these the one of the training images."""
    for name in sorted(files.ending(*SUFFIXES), key=_order):
        rows, divider = _rows(files, name)
        columns = [list(column) for column in zip(*rows, strict=True)]
        places = [_place(files, column[1:]) for column in columns]
        if found := [(number, place) for number, place in enumerate(places) if place]:
            number, place = min(found, key=lambda one: one[1].by_name)  # an address ends with a name too
            headless = _place(files, columns[number][:1]) is not None
            header = None if headless else [normal(column[0]) for column in columns]
            yield Table(
                name, header, columns if headless else [column[1:] for column in columns], number, place, divider
            )


def _order(name: str) -> tuple[int, bool, bool, str]:
    split = without_split(name)[1]
    return name.count("/"), split != "train", split == "test" or "submission" in name.lower(), name


def _rows(files: Listing, name: str) -> tuple[list[list[str]], str]:
    """Reads the first rows of a file, none if it is no table, and what divides their cells."""
    try:
        lines = read_table(files.path(name)).splitlines()[: ROWS + 1]
    except InputError:
        return [], ","
    lines = lines[1:] if lines and lines[0].startswith("sep=") else lines
    divider = max(",;\t", key=lines[0].count) if lines else ","
    try:
        rows = [[normal(cell) for cell in row] for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=divider)]
    except csv.Error:
        return [], divider
    rows = [row for row in rows if any(row)]
    is_table = len(rows) > 2 and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows)
    return rows if is_table else [], divider


def _place(files: Listing, cells: list[str]) -> Place | None:
    """Returns where cells lead to as the paths of images; None if they are no paths.

    The folder is that above all images and ends with `**` if they are in several.
    """
    some = cells[:: max(1, len(cells) // LOOKED_AT)]
    found = [place for cell in some if (place := _where(files, cell)) is not None]
    if not found or len(found) < SHARE * len(some):
        return None
    best = most_common(found)
    if best.by_name and len({*map(_last, cells)}) < len({*cells}):  # two images would be one
        return None
    if found.count(best) >= SHARE * len(found):
        return best
    above = above_all(f"{place.folder}/" for place in found)
    return Place(joined(above, "**"), most_common(place.extension for place in found), best.by_name)


def _where(files: Listing, cell: str) -> Place | None:
    name = cell.replace("\\", "/").removeprefix("./")
    last = _last(name)
    for path in files.by_name.get(last, []):
        if f"/{path}".endswith(f"/{name}"):
            return Place(path[: -len(name)].rstrip("/"), "")
    for path in files.by_stem.get(last, []) if name else []:
        above, _, extension = path.rpartition(".")
        if f"/{above}".endswith(f"/{name}"):
            return Place(above[: -len(name)].rstrip("/"), f".{extension}")
    same = files.by_name.get(last, []) if last != name else []
    return Place(same[0].rpartition("/")[0], "", by_name=True) if len(same) == 1 else None


def _last(cell: str) -> str:
    return cell.replace("\\", "/").rpartition("/")[2]


def first_line(files: Listing, name: str) -> str:
    """Returns the first line of a text file; empty if it cannot be read."""
    try:
        return read_table(files.path(name)).partition("\n")[0]
    except InputError:
        return ""
