"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from visiontasks.samples import InputError


def make_folder(path: Path) -> None:
    """Makes the folder that `--output` names, where there is none.

    Raises:
        InputError: It cannot be made, or nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        place, name = mkstemp(dir=path, prefix=".try-")
        os.close(place)
        os.unlink(name)
    except OSError as error:
        raise InputError(f"--output {path}: the folder cannot be written to ({error.strerror}).") from None


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Gives the path of a new file beside this one; it takes its place at the end, and is removed after an error.

    Raises:
        InputError: It cannot be written, as on a full disk.
    """
    with cannot_be_written(path):
        place, name = mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(place)
        part = Path(name)
        try:
            yield part
            part.chmod(0o666 & ~_umask())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def cannot_be_written(path: Path) -> Generator[None]:
    """Says which file could not be written, and why."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # Pillow's own
            raise
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
