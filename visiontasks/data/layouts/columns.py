"""Columns of a table, and what their cells could be."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from visiontasks.core.text import is_missing

LABEL = re.compile(r".*(label|class|categor|target|species|breed|kind|type|diagnos|tag).*|name|y", re.IGNORECASE)
VALUE = re.compile(r".*(value|age|height|weight|price|score|count|angle|length|rating|target).*|y", re.IGNORECASE)
COMMA = re.compile(r"[+-]?\d+(,\d+)?")
MOST_CLASSES = 0.5  # of the rows: more different texts are no classes
FEW_NUMBERS = 30  # different whole numbers that can be classes


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: Its name.
        distinct: The different cells that are not missing, with points for decimal commas.
        count: How many cells there are.
        has_commas: Whether they have decimal commas.
    """

    name: str
    distinct: set[str]
    count: int
    has_commas: bool = False

    @property
    def has_numbers(self) -> bool:
        return bool(self.distinct) and all(map(is_number, self.distinct))

    @property
    def is_named_label(self) -> bool:
        return bool(LABEL.fullmatch(self.name))

    @property
    def may_be_classes(self) -> bool:
        if not 1 <= len(self.distinct) <= max(2, MOST_CLASSES * self.count):
            return False
        if any(cell.startswith("{") for cell in self.distinct):  # JSON, which has more than a class
            return False
        are_whole = all(cell.isdecimal() for cell in self.distinct)
        return not self.has_numbers or (are_whole and (self.is_named_label or len(self.distinct) <= FEW_NUMBERS))

    @property
    def are_decisions(self) -> bool:
        return self.has_numbers and {float(cell) for cell in self.distinct} == {0.0, 1.0}

    @property
    def are_signs(self) -> bool:
        return self.distinct == {"-1", "1"}


def column_of(name: str, cells: Sequence[str], divider: str) -> Column:
    """Describes a column; a comma in its numbers may be a decimal one if something else divides the columns."""
    distinct = {cell for cell in cells if not is_missing(cell)}
    are_numbers = all(map(COMMA.fullmatch, distinct)) and any("," in cell for cell in distinct)
    may_be_lists = LABEL.fullmatch(name) and not VALUE.fullmatch(name)  # of labels that are numbers
    if divider == "," or not are_numbers or may_be_lists:
        return Column(name, distinct, len(cells))
    return Column(name, {cell.replace(",", ".") for cell in distinct}, len(cells), has_commas=True)


def is_list(column: Column, separator: str) -> bool:
    """Returns whether cells are lists: most of their parts occur in other cells too."""
    parts = [part.strip() for cell in column.distinct for part in cell.split(separator)]
    return any(separator in cell for cell in column.distinct) and len({*parts}) <= 0.7 * len(parts)


def is_number(text: str) -> bool:
    """Returns whether a text is a number."""
    try:
        return float(text) is not None
    except ValueError:
        return False
