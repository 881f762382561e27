"""Columns of a table that hold a box."""

import re
from collections.abc import Collection, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.data.datasets.records import Box, four_numbers
from visiontasks.data.datasets.rows import Row

BoxFormat = Literal["xyxy", "xywh", "cxcywh", "xyxy_shares", "xywh_shares", "cxcywh_shares"]
SHARES = "_shares"  # end of the formats whose numbers are shares of the image
MOST_SHARES = 2.0  # larger numbers are pixels
CORNERS = ["xmin ymin xmax ymax", "x1 y1 x2 y2", "x_min y_min x_max y_max", "left top right bottom"]
SIZES = ["x y w h", "x y width height"]
PREFIXES = ("", "bbox_")
SPELLINGS: dict[tuple[str, ...], BoxFormat] = {
    tuple(prefix + name for name in text.split()): form
    for texts, form in ((CORNERS, "xyxy"), (SIZES, "xywh"))
    for text in texts
    for prefix in PREFIXES
}
OF_OTHERS = {"x", "y", "w", "h", "width", "height", "left", "right", "top", "bottom"}  # sizes, places, sides ...
LIKE_A_BOX = re.compile(r".*(bbox|bndbox|bounding_?box).*|box|box_.+|c_?[xy]|[xy]_?c|[xy]_?center|center_?[xy]")


BRACKETS = ("[]", "()")


class BoxColumns(NamedTuple):
    """The four columns of a box, or one with all four numbers as text, and what they hold: corners, or a corner or the
    center, width and height; in pixels, or as shares of the image."""

    names: tuple[str, ...]
    form: BoxFormat

    @property
    def are_shares(self) -> bool:
        return self.form.endswith(SHARES)

    def box(self, row: Row, where: str) -> Box | None:
        """Returns the box of a row, xyxy in pixels, or in shares of the image; None if the cells are empty."""
        texts = [row[name] for name in self.names]
        if not any(texts):
            return None
        expected = f"{', '.join(self.names)} must be numbers, or all be empty"
        if len(texts) == 1:
            expected = f"{self.names[0]} must be four numbers, such as [1, 2, 3, 4], or empty"
            texts = divided(texts[0])
        numbers = four_numbers(texts, where, expected)
        if self.are_shares and max(map(abs, numbers)) > MOST_SHARES:
            fault = f"`box_format: {self.form}` expects shares of the image, 0..1; found {[*numbers]}"
            raise InputError(f"{where}: {fault}. If these are pixels, set {self.form.removesuffix(SHARES)}.")
        return corners_of(numbers, self.form)


def divided(text: str) -> list[str]:
    """Returns the parts of a text such as `[1, 2, 3, 4]`, `(1, 2, 3, 4)` or `1 2 3 4`."""
    plain = text.strip()
    plain = plain[1:-1] if plain[:1] + plain[-1:] in BRACKETS else plain
    return re.split(r"\s*[,;]\s*|\s+", plain.strip())


def corners_of(box: tuple[Any, Any, Any, Any], form: BoxFormat) -> tuple[Any, Any, Any, Any]:
    """Returns the corners of a box that is written in a form: numbers, or arrays of many boxes."""
    first, second, third, fourth = box
    if form.startswith("xyxy"):
        return box
    if form.startswith("cxcywh"):
        first, second = first - third / 2, second - fourth / 2
    return first, second, first + third, second + fourth


def find_box(
    header: Sequence[str], used: Collection[str | None], given: list[str] | None, form: BoxFormat | None, path: str
) -> BoxColumns | None:
    """Returns the columns of the box, the given ones or those with known names in any case; None if there are none.

    Args:
        header: Names of all columns.
        used: Names of the columns that hold something else.
        given: `box_columns` of `CsvTable`; an empty list says that there is no box.
        form: `box_format` of `CsvTable`.
        path: The table, for messages.

    Raises:
        InputError: The given columns are neither four columns of the table nor one, or several or only parts of boxes
            are found.
    """
    if given is not None:
        return _given(header, given, form, path)
    free = [name for name in header if name not in used]
    if polygon := [name for name in free if name.casefold() in ("x3", "y3")]:
        fault = f"the column {polygon[0]!r} looks like a corner of a polygon, which is not read"
        raise InputError(f"{path}: {fault}. Name the columns of its box in `box_columns`, or set `box_columns: []`.")
    found = [(names, known) for spelling, known in SPELLINGS.items() for names in _matches(free, spelling)]
    if len(found) > 1:
        both = " and ".join(", ".join(names) for names, _ in found[:2])
        raise InputError(f"{path}: {both} are both columns of boxes. Name the four to use in `box_columns`.")
    if found:
        return BoxColumns(found[0][0], form or found[0][1])
    _check_others(free, path)
    return None


def _matches(header: Sequence[str], spelling: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Returns the columns that have these names in any case: once, unless two names differ only in case."""
    return list(product(*([name for name in header if name.casefold() == part] for part in spelling)))


def _given(header: Sequence[str], given: list[str], form: BoxFormat | None, path: str) -> BoxColumns | None:
    if not given:
        return None
    if missing := [name for name in given if name not in header]:
        raise InputError(f"{path}: box_columns: no column {missing[0]!r}; there are {[*header]}.")
    if len(given) not in (1, 4) or len({*given}) < len(given):
        expected = "the names of four columns, or of one that holds all four numbers"
        raise InputError(f"{path}: box_columns: expected {expected}; found {given}.")
    form = form or SPELLINGS.get(tuple(name.casefold() for name in given))
    if form is None:
        advice = "Set `box_format` to xyxy (corners), xywh (corner and size) or cxcywh (center and size)"
        advice += f"; with {SHARES} at the end if the numbers are shares of the image, 0..1"
        raise InputError(f"{path}: box_columns: {given} do not say what they hold. {advice}.")
    return BoxColumns(tuple(given), form)


def _check_others(header: Sequence[str], path: str) -> None:
    """Refuses a part of a box, and warns of other names that look like a box."""
    odd = [name for name in header if LIKE_A_BOX.fullmatch(name.casefold())]
    for spelling in SPELLINGS:
        part = [name for name in header if name.casefold() in spelling]
        if not {name.casefold() for name in part} - OF_OTHERS:
            continue
        if len(part) > 1:
            advice = "Name its four columns in `box_columns`, or set `box_columns: []` if there is no box"
            raise InputError(f"{path}: {', '.join(part)} are only a part of {', '.join(spelling)}. {advice}.")
        odd += [name for name in part if name not in odd]
    pair = [name for name in header if name.casefold() in ("x", "y")]
    if odd := odd or (pair if len(pair) > 1 else []):
        fault = f"the columns {odd[:4]} look like a box and are not used"
        rank_zero_warn(f"{path}: {fault}. Name the columns of the box in `box_columns`.")
