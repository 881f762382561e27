"""Tables in other forms, as text with commas."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.text import read_text

JSON_LINES = ".jsonl"


def read_table(path: str | Path) -> str:
    """Returns the text of a table with a header line; one with commas of JSON lines and of CelebA's lists.

    CelebA's lists have the number of images in their first line, then the names of the columns but for that of the
    path, and spaces between the columns. A JSON line has the cells of a row; lists of texts are joined with `|`, and
    objects in objects are left out.

    Raises:
        InputError: The file cannot be read.
    """
    text = read_text(path)
    if str(path).lower().endswith(JSON_LINES):
        return _of_json_lines(text, str(path))
    first, _, rest = text.partition("\n")
    return _of_counted(first, rest) if first.strip().isdecimal() and "," not in text else text


def _of_counted(first: str, rest: str) -> str:
    header, *rows = [line.split() for line in rest.splitlines()] or [[]]
    if not rows or len(header) + 1 != len(rows[0]):
        return f"{first}\n{rest}"
    return _joined([["sep=,"], ["path", *header], *rows])  # as many lines as before


def _of_json_lines(text: str, path: str) -> str:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line or "{}")
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: expected an object, as {{...}}; found {line[:100]!r}.")
        rows.append(row)
    header = [*dict.fromkeys(key for row in rows for key in row)]
    return _joined([header, *([_cell(row.get(key)) for key in header] for row in rows)])


def _cell(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        is_text = all(isinstance(part, str) for part in value)
        return "|".join(value) if is_text else json.dumps(value)
    return str(int(value) if isinstance(value, bool) else value).replace("\n", " ")


def _joined(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().replace('"sep=,"', "sep=,", 1)
