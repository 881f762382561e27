"""Files that name classes, beside the data that have numbers or colors only."""

import csv
import re
from collections.abc import Collection

from visiontasks.core.errors import InputError
from visiontasks.core.text import read_text
from visiontasks.data.layouts.base import Listing

FILES = re.compile(
    r"(class|label|categor|name|codes|color|palette|legend)[^/]*\.(txt|names|csv|tsv|labels)$", re.IGNORECASE
)
LONGEST = 100_000  # characters of such a file
NUMBERED = re.compile(r"(\d+)\s*[:,;=\t ]\s*(\S.*)|(\S.*?)\s*[:,;=\t ]\s*(\d+)")
COLOR = re.compile(r"(\S.*?)\s*[:,;\t ]\s*(\d+)\s*[,;\t ]\s*(\d+)\s*[,;\t ]\s*(\d+)\D*")

Color = tuple[int, int, int]


def names_beside(files: Listing, count: int | None = None) -> dict[int, str]:
    """Returns the names of numbered classes that a file lists: one per line, from 0 on, or with their numbers.

    Args:
        files: The files of the data set.
        count: Number of names that the file must have, if it is known.
    """
    for lines in _candidates(files):
        found = _numbered(lines) or dict(enumerate(_colors(lines).values()))
        if found and (count is None or len(found) == count) and len({*found.values()}) == len(found):
            return found
    return {}


def codes_beside(files: Listing, codes: Collection[str]) -> dict[str, str]:
    """Returns the names of codes such as /m/01g317 that a file lists, one code and one name in a line."""
    for lines in _candidates(files):
        divider = max(",;\t", key=lines[0].count) if lines else ","
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=divider)]
        found = {row[0]: row[1] for row in rows if len(row) == 2}
        if {*codes} <= {*found} and len({*found.values()}) == len(found) == len(rows):
            return found
    return {}


def named_colors(files: Listing) -> dict[Color, str]:
    """Returns the names of the colors that a file lists, as `name,r,g,b` or `name:r,g,b::`."""
    return next((found for lines in _candidates(files) if (found := _colors(lines))), {})


def _candidates(files: Listing) -> list[list[str]]:
    """Returns the lines of files whose names say that they name classes, those at the top first."""
    texts = []
    for name in sorted((one for one in files.names if FILES.search(one)), key=lambda one: one.count("/")):
        try:
            text = read_text(files.path(name))
        except InputError:
            continue
        if len(text) <= LONGEST:
            texts.append([line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")])
    return texts


def _colors(lines: list[str]) -> dict[Color, str]:
    found = [COLOR.fullmatch(line) for line in lines]
    pairs = {(int(one[2]), int(one[3]), int(one[4])): one[1] for one in found if one}
    return pairs if len(pairs) > 1 and len(pairs) >= len(lines) - 1 else {}  # one line may be a header


def _numbered(lines: list[str]) -> dict[int, str]:
    found = [NUMBERED.fullmatch(line) for line in lines]
    pairs = {int(one[1] or one[4]): (one[2] or one[3]).strip(" \"'") for one in found if one}
    if len(pairs) > 1 and len(pairs) >= len(lines) - 1:
        return dict(sorted(pairs.items()))
    rows = list(csv.reader(lines))
    return dict(enumerate(row[0].strip() for row in rows)) if rows and all(len(row) == 1 for row in rows) else {}
