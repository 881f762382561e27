"""Faults of a set: they end a training, and a check collects them."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from typing import Literal, NamedTuple

from visiontasks.core.errors import InputError
from visiontasks.core.images import shown

FaultKind = Literal["file", "annotation", "box", "size", "class", "double", "partner", "twice"]


class Fault(NamedTuple):
    """What is wrong with one file of a set.

    Attributes:
        kind: `file` (missing, or cannot be read), `annotation` (cannot be read), `box` (outside its image, or without
            area), `size` (of another image), `class` (unknown), `double` (an object that is there twice), `partner` (an
            image or mask without the other) or `twice` (an image that is listed twice).
        path: The image, or the file that says it.
        text: What is wrong, and how to fix it.
        refused: Whether a training would stop because of it.
    """

    kind: FaultKind
    path: str
    text: str
    refused: bool


_collected: ContextVar[list[Fault] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Generator[list[Fault]]:
    """Collects the faults of the datasets that are made meanwhile, which leave out what is wrong."""
    found: list[Fault] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def refuse(kind: FaultKind, path: str | PathLike[str], error: InputError) -> None:
    """Raises the error; while faults are collected, it notes the fault instead, and the caller leaves out the part."""
    if _collected.get() is None:
        raise error
    _add(Fault(kind, shown(path), str(error), True))


def note(kind: FaultKind, path: str | PathLike[str], text: str) -> None:
    """Notes a fault that a training corrects, while faults are collected."""
    _add(Fault(kind, shown(path), text, False))


def _add(fault: Fault) -> None:
    found = _collected.get()
    if found is not None:
        found.append(fault)
