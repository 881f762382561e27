"""Columns of boxes in a table, and whether texts of four numbers are corners, or a corner or center and a size."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, cast

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_size
from visiontasks.core.text import is_missing
from visiontasks.data.datasets.box_columns import SHARES, BoxColumns, BoxFormat, corners_of, divided, find_box
from visiontasks.data.datasets.records import LEAST_SIDE
from visiontasks.data.layouts.base import LOOKED_AT, Certainty, Listing
from visiontasks.data.layouts.rows import Table

FORMS: dict[BoxFormat, str] = {
    "xyxy": "two corners",
    "xywh": "the upper left corner and the size",
    "cxcywh": "the center and the size",
}
LOOSE = 1.0  # pixels by which a box may leave its image: numbers are rounded
SLACK = 0.01  # the same for shares of the image
WRONG = 0.05  # share of the boxes that may be impossible: sets have mistakes


class Boxes(NamedTuple):
    """The column or columns of boxes, what they hold, how sure that is, and why."""

    columns: list[str]
    form: BoxFormat
    certainty: Certainty
    reason: str


def find_boxes(
    files: Listing, table: Table, names: Sequence[str], used: Collection[str]
) -> tuple[tuple[str, ...], Boxes | None]:
    """Returns the columns of boxes: four, or one with texts, or none, and what they hold unless their names say it."""
    text = _find_text(files, table, names, used)
    try:
        four = find_box(names, {*used, *text.columns} if text else used, None, None, table.name)
    except InputError:
        four = None
    if four:
        return four.names, _find_shares(table, names, four)
    return ((*text.columns,), text) if text else ((), None)


def _find_shares(table: Table, names: Sequence[str], four: BoxColumns) -> Boxes | None:
    """Returns what four columns hold if all of their numbers are shares of the image."""
    cells = zip(*(table.columns[names.index(name)] for name in four.names), strict=True)
    boxes = [_numbers(" ".join(row)) for row in cells if all(row)]
    if not boxes or not all(boxes) or np.max(boxes) > 1 + SLACK:
        return None
    forms: tuple[BoxFormat, ...] = (
        ("xywh", "cxcywh") if four.form == "xywh" else (four.form,)
    )  # YOLO has the same names
    outside = {form: _outside(np.array(boxes), form) for form in forms}
    form = min(outside, key=lambda one: outside[one])
    reason = f"the numbers of {', '.join(four.names)} are shares of the image, read as {form}, {FORMS[form]}"
    other = next((one for one in forms if one != form and outside[one] == outside[form]), None)
    reason += f"; they also fit {other}, {FORMS[other]}; look at the boxes with `visiontasks preview`" if other else ""
    certainty: Certainty = "a guess" if other else "likely"
    return Boxes([*four.names], cast(BoxFormat, f"{form}{SHARES}"), certainty, reason)


def _outside(boxes: np.ndarray, form: BoxFormat) -> float:
    """Returns the share of the boxes, in shares of their image, that leave it."""
    corners = np.stack(corners_of((boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]), form), 1)
    return float(((corners < -SLACK) | (corners > 1 + SLACK)).any(1).mean())


def _find_text(files: Listing, table: Table, names: Sequence[str], used: Collection[str]) -> Boxes | None:
    """Returns the first column whose texts are four numbers each, which are boxes inside the images."""
    for name, cells in zip(names, table.columns, strict=True):
        rows = [row for row, cell in enumerate(cells) if not is_missing(cell)]
        rows = rows[:: max(1, len(rows) // LOOKED_AT)]
        boxes = [_numbers(cells[row]) for row in rows]
        if name not in used and boxes and all(boxes):
            paths = [table.columns[table.path][row] for row in rows]
            if form := _form(name, np.array(boxes), _sizes(files, table, paths)):
                return form
    return None


def _numbers(cell: str) -> list[float]:
    """Returns the four numbers in a text; none if it has anything else."""
    try:
        found = [float(part) for part in divided(cell)]
    except ValueError:
        return []
    return found if len(found) == 4 and np.isfinite(found).all() else []


def _sizes(files: Listing, table: Table, paths: Sequence[str]) -> np.ndarray:
    """Returns the width and height of the image of each row, float64 (rows, 2), infinite if it cannot be read."""
    known: dict[str, tuple[float, float]] = {}
    for path in {*paths}:
        end = f"{path}{table.place.extension}".replace("\\", "/").removeprefix("./")
        end = end.rpartition("/")[2] if table.place.by_name else end
        found = files.by_name.get(end.rpartition("/")[2], [])
        try:
            height, width = read_size(files.path(next(name for name in found if f"/{name}".endswith(f"/{end}"))))
            known[path] = width, height
        except (InputError, StopIteration):
            known[path] = np.inf, np.inf
    return np.array([known[path] for path in paths], float)


def _form(name: str, boxes: np.ndarray, sizes: np.ndarray) -> Boxes | None:
    """Chooses the form in which the fewest boxes, float64 (rows, 4), are impossible; the first one of equal ones."""
    first, second, third, fourth = boxes.T
    corners = {form: corners_of((first, second, third, fourth), form) for form in FORMS}
    wrong = {form: _impossible(np.stack(found, 1), sizes) for form, found in corners.items()}
    best = min(FORMS, key=lambda form: wrong[form])
    if wrong[best] > WRONG:
        return None
    what = f"{name} is read as {best}, {FORMS[best]}"
    if best == "xyxy" and wrong["xywh"] == wrong["xyxy"]:
        other = f"the numbers also fit xywh, {FORMS['xywh']}"
        return Boxes([name], best, "a guess", f"{what}, but {other}; look at the boxes with `visiontasks preview`")
    worse = [form for form in FORMS if wrong[form] > wrong[best]]
    others = " and ".join(f"{100 * wrong[form]:.3g} % as {form}" for form in worse)
    same = [form for form, share in wrong.items() if form != best and share == wrong[best]]
    also = f"; {same[0]}, {FORMS[same[0]]}, fits too, but is rare" if same else ""
    return Boxes([name], best, "likely", f"{what}: of {len(boxes)} boxes, {others} are impossible{also}")


def _impossible(corners: np.ndarray, sizes: np.ndarray) -> float:
    """Returns the share of the boxes, xyxy, that are inverted, have no area or leave their image."""
    low, high = corners[:, :2], corners[:, 2:]
    bad = (high - low < LEAST_SIDE) | (low < -LOOSE) | (high > sizes + LOOSE)
    return float(bad.any(1).mean())
