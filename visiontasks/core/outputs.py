"""Folders of results, in which a command replaces only what an earlier run wrote there."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

from visiontasks.core.errors import InputError
from visiontasks.core.files import atomic_write, cannot_be_written, make_folder, write_text

RECORD = ".written.jsonl"


class OutputFolder:
    """A folder of results that may also hold the user's own files, which are never changed or removed.

    `.written.jsonl` in the folder records each written file with its size and time. A file that is not in the record,
    or was changed since, is the user's.

    Args:
        path: The folder, which is created if it is missing.
        names: Names of the files that the command may write, also patterns such as `masks/[0-9]*_*.png`.

    Raises:
        InputError: The folder cannot be written to, or one of these files is the user's.
    """

    def __init__(self, path: Path, *names: str) -> None:
        make_folder(path)
        self.path, self.names, self._record = path, names, path / RECORD
        self._written = _read(self._record)
        for file in self._found():
            self._check(file)

    def clear(self, *others: str) -> None:
        """Removes the files that earlier runs wrote under the names of this command, or under other ones."""
        more = (file for name in others for file in self.path.glob(name) if file.is_file() and self._is_ours(file))
        found = dict.fromkeys([*self._found(), *more])
        with cannot_be_written(self.path):
            for file in found:
                file.unlink()
        for file in found:
            del self._written[self._name(file)]
        write_text(self._record, "".join(map(_line, self._written.items())))

    @property
    def has_results(self) -> bool:
        """Whether an earlier run wrote files under the names of this command."""
        return bool(self._found())

    @contextmanager
    def write(self, name: str) -> Generator[Path]:
        """Yields the path of a new file, which becomes the file `name` at the end; see `atomic_write`."""
        path = self.path / name
        self._check(path)
        with cannot_be_written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            yield part
            self._remember(name, part)

    @contextmanager
    def write_lines(self, name: str) -> Generator[TextIO]:
        """Opens a text file that ends with `.part` until all is written, and keeps its lines after an error."""
        part = self.path / f"{name}.part"
        with cannot_be_written(part):
            with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                yield file
            self._remember(name, part)
            part.replace(self.path / name)

    def _remember(self, name: str, part: Path) -> None:
        self._written[name] = _stamp(part)
        with self._record.open("a", encoding="utf-8") as record:
            record.write(_line((name, self._written[name])))

    def _found(self) -> list[Path]:
        return [file for name in self.names for file in sorted(self.path.glob(name)) if not file.is_dir()]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _is_ours(self, path: Path) -> bool:
        return self._written.get(self._name(path)) == _stamp(path)

    def _check(self, path: Path) -> None:
        if path.exists() and not self._is_ours(path):
            raise InputError(
                f"{path}: would be replaced, but no earlier run wrote it, or it was changed since. Move it, or give "
                "another --output."
            )


def new_results(path: Path, *names: str) -> OutputFolder:
    """Opens the first of the folders `path`, `path-1`, `path-2` ... that has none of these files from an earlier run.

    Raises:
        InputError: See `OutputFolder`.
    """
    path = path.resolve() if path.name in ("", "..") else path  # `.` has no name
    paths = (path.with_name(f"{path.name}-{number}") if number else path for number in count())
    return next(folder for one in paths if not (folder := OutputFolder(one, *names)).has_results)


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _line(item: tuple[str, list[int]]) -> str:
    return json.dumps(item) + "\n"


def _read(record: Path) -> dict[str, list[int]]:
    if not record.is_file():
        return {}
    try:
        return dict(json.loads(line) for line in record.read_text("utf-8").splitlines())
    except (OSError, ValueError, TypeError, RecursionError):
        raise InputError(f"{record}: not the record of written files. Remove it, or give another --output.") from None
