"""Images that the rows of a table list, and their splits."""

from collections.abc import Callable, Sequence
from os.path import normpath
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.faults import UnknownClass, refuse, usable
from visiontasks.data.datasets.box_columns import BoxColumns
from visiontasks.data.datasets.records import Annotation
from visiontasks.data.datasets.rows import Row, decisions, numbers, occurring
from visiontasks.data.splits import SPLITS, split_of


class Listed(NamedTuple):
    """An image in a table: the place of its first row, this row, its objects and other targets, and repeated rows."""

    where: str
    row: Row
    annotations: list[Annotation]
    others: dict[str, Any]
    repeated: int = 0


class Cells(NamedTuple):
    """What the columns of a table hold: one label or a list of labels, and the class of each; a box; numbers and labels
    in columns of their own; a label that may be empty is `optional`."""

    label: str
    classes: dict[str, str]
    box: BoxColumns | None
    values: Sequence[str]
    labels: Sequence[str]
    separator: str | None
    optional: bool

    def read(self, row: Row, where: str) -> tuple[list[Annotation], dict[str, Any]]:
        """Returns the object of a row, if it has one, and the other targets; an `InputError` if a cell is wrong."""
        others = {"value": numbers(row, self.values, where)} if self.values else {}
        if self.separator:
            others["labels"] = occurring(row[self.label], self.separator, [*self.classes], where)
        elif self.labels:
            others["labels"] = decisions(row, self.labels, where)
        if self.separator or self.label not in row or (self.optional and not row[self.label]):
            return [], others
        if (label := row[self.label]) not in self.classes:
            raise UnknownClass(f"{where}: {self.label} {label!r} is not one of {[*self.classes]}.")
        return [Annotation(self.classes[label], self.box and self.box.box(row, where), where)], others


def _plain(name: str) -> str:
    """Returns the same text for all ways to write the path of one file."""
    return normpath(name.replace("\\", "/")) if "\\" in name or "./" in name or "//" in name else name


def join_rows(
    rows: dict[str, Row],
    name: str,
    read: Callable[[Row, str], tuple[list[Annotation], dict[str, Any]]],
    several: bool,
    may_be_empty: bool,
) -> list[Listed]:
    """Joins the rows of each image, which may have `several` labels, or none where it `may_be_empty`; rows that
    contradict each other are an error."""
    images: dict[str, Listed] = {}
    for where, row in rows.items():
        if (found := usable("annotation", row[name], read, row, where)) is None:
            continue
        annotations, others = found
        image = images.get(key := _plain(row[name]))
        if image is None:
            images[key] = Listed(where, row, annotations, others)
            continue
        if may_be_empty and bool(annotations) != bool(image.annotations):
            fault = f"one of this row and {image.where} has an object, the other says that the image has none"
            refuse("class", row[name], InputError(f"{where}: {fault}. Remove one of the rows."))
            continue
        new = [one for one in annotations if all(one[:2] != known[:2] for known in image.annotations)]
        odd = [key for key in others if not np.array_equal(others[key], image.others[key], equal_nan=True)]
        if odd or (new and not several):
            fault = f"the {odd[0] if odd else 'label'} of this image differs from that in {image.where}"
            refuse("class", row[name], InputError(f"{where}: {fault}. Correct or remove one of the rows."))
            continue
        image.annotations.extend(new)
        images[key] = image._replace(repeated=image.repeated + (not new))
    return list(images.values())


def split_of_rows(rows: dict[str, Row], column: str, name: str, group: str | None) -> dict[str, str]:
    """Returns the split of each row; an image or a group in two splits is an error."""
    seen: dict[tuple[str, str], str] = {}
    sides = {}
    for where, row in rows.items():
        if (side := split_of(row[column])) is None:
            fault = f"{where}: split {row[column]!r} is not one of {', '.join(SPLITS)}."
            refuse("annotation", row[name], InputError(fault))
            continue
        for what in filter(None, (name, group)):
            if (before := seen.setdefault((what, _plain(row[what])), side)) != side:
                kind = "group" if what == group else what
                fault = f"{kind} {row[what]!r} is in {side} and in {before}"
                refuse("twice", row[name], InputError(f"{where}: {fault}. Remove one of them."))
        sides[where] = side
    return sides


def warn_of_splits(rows: list[Row], path: str) -> None:
    """Names a column that holds splits, but is not used."""
    for column in rows[0]:
        values = {row[column] for row in rows}
        if 1 < len(values) <= len(SPLITS) and "train" in (found := {*map(split_of, values)}) and None not in found:
            rank_zero_warn(f"{path}: the splits in column {column!r} are not used. Set `split_column: {column}`.")
