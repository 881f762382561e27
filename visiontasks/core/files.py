"""Output files, which are written completely or not at all."""

import csv
import json
import math
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from typing import Any, TextIO

from visiontasks.core.errors import InputError


def make_folder(path: Path) -> None:
    """Creates the folder that `--output` names; raises an InputError if it cannot be created or written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f"--output {path}: the folder cannot be written to ({error.strerror}).") from None


@contextmanager
def atomic_write(path: Path) -> Generator[Path]:
    """Yields the path of a new file in the same folder, which replaces `path` at the end or is removed after an error.

    Raises an InputError if the file cannot be written, for example on a full disk.
    """
    with cannot_be_written(path):
        part = path.with_name(f".{token_hex(4)}-{path.name}")
        try:
            part.touch(exist_ok=False)
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Renames a file to the first free name with a number, such as `config-1.yaml`."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(1))
    path.rename(next(other for other in numbered if not other.exists()))


def sweep(folder: Path, *names: str) -> None:
    """Removes what `atomic_write` left of these files in processes that were killed; nobody may be writing them now."""
    for name in names:
        for part in folder.glob(f".{'[0-9a-f]' * 8}-{name}"):
            part.unlink()


@contextmanager
def cannot_be_written(path: Path) -> Generator[None]:
    """Turns an OSError into an InputError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # raised by Pillow, not by the system
            raise
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from None


class CsvWriter:
    """Writes CSV lines whose texts a spreadsheet does not take for formulas.

    A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return, also after spaces, gets a leading `'`, as
    spreadsheets mark texts. `read_csv` removes it.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file)

    def row(self, values: Iterable[Any]) -> None:
        """Writes one line."""
        self._writer.writerow(
            f"'{value}" if isinstance(value, str) and _is_formula(value) and not _is_number(value) else value
            for value in values
        )


def write_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes rows as a CSV file; the given columns come first, then those of all rows in order of appearance."""
    columns = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = CsvWriter(file)
        writer.row(columns)
        for row in rows:
            writer.row(row.get(name, "") for name in columns)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a CSV file that this package wrote; no rows if the file is missing."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file ({error}). Rename or remove it.") from None
    # the last line of a run that was killed may be short
    return [{_unmarked(name): _unmarked(cell) for name, cell in row.items() if name and cell} for row in rows]


def _is_formula(text: str) -> bool:
    return re.match(r"'*(\s*[=+\-@]|[\t\r])", text) is not None  # also of a marked one, so that marks can be removed


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unmarked(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Writes a text file in UTF-8; see `atomic_write`."""
    with atomic_write(path) as part:
        part.write_text(text, "utf-8", errors)


def write_json(path: Path, content: Any) -> None:
    """Writes plain data as JSON, with null for NaN and infinity, which JSON lacks."""
    write_text(path, json.dumps(_without_nan(content), indent=1, allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
