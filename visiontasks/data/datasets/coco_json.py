"""The JSON of a COCO file."""

import reprlib
from pathlib import Path
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse
from visiontasks.core.text import read_json

Rows = list[dict[str, Any]]
Id = int | str | None


def read_content(path: Path) -> dict[str, Rows]:
    """Reads the images, annotations and categories, and raises an `InputError` if it is another file."""
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: not a COCO file: {key!r} must be a list of objects.")
    return content


def by_id(rows: Rows, path: Path, what: str, key: str) -> dict[Id, dict[str, Any]]:
    """Returns rows by their ids; one without an id or a `key`, or with the id of another, is an `InputError`."""
    found: dict[Id, dict[str, Any]] = {}
    for row in rows:
        number = to_id(row.get("id"))
        if number is None or not isinstance(row.get(key), str):
            shown = reprlib.repr(row.get("id"))
            fault = f"{path}: {what} {shown} must have an id and a {key}; found {reprlib.repr(row)}."
            refuse("annotation", path, InputError(fault))
        elif number in found:
            refuse("annotation", path, InputError(f"{path}: the {what} id {number} occurs twice."))
        else:
            found[number] = row
    if not found:
        raise InputError(f"{path}: the file has no {what}.")
    return found


def to_id(value: Any) -> Id:
    """Returns an id that may be written as 7, 7.0, "7" or "x7"; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        return int(value) if value.isdecimal() and value.isascii() and len(value) < 20 else value
    return int(value) if isinstance(value, float) and value.is_integer() else None
