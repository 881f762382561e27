"""Faults of a set: they end a training, and a check collects them."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from typing import Literal, NamedTuple, TypeVar

from visiontasks.core.errors import InputError
from visiontasks.core.images import shown

FaultKind = Literal["file", "annotation", "box", "size", "class", "empty", "double", "partner", "twice"]
Result = TypeVar("Result")


class UnknownClass(InputError):
    """A class that the set does not have."""


class Fault(NamedTuple):
    """What is wrong with one file of a set.

    Attributes:
        kind: `file` (missing, or cannot be read), `annotation` (cannot be read), `box` (outside its image, or without
            area), `size` (of another image), `class` (unknown), `empty` (a class without images), `double` (an object
            that is there twice), `partner` (an image, mask or annotation without the other) or `twice` (an image that
            is listed twice).
        path: The image, or the file that says it.
        text: What is wrong, and how to fix it.
        refused: Whether a training would stop because of it.
    """

    kind: FaultKind
    path: str
    text: str
    refused: bool


class Faults(list[Fault]):
    """The faults in the order in which they were found, and the paths of those that a training would stop at."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def append(self, fault: Fault) -> None:
        super().append(fault)
        if fault.refused:
            self.refused.add(fault.path)


_collected: ContextVar[Faults | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Generator[Faults]:
    """Collects the faults of the datasets that are made meanwhile, which leave out what is wrong."""
    found = Faults()
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def refuse(kind: FaultKind, path: str | PathLike[str], error: InputError) -> None:
    """Raises the error; while faults are collected, it notes the fault instead, and the caller leaves out the part."""
    if (found := _collected.get()) is None:
        raise error
    found.append(Fault("class" if isinstance(error, UnknownClass) else kind, shown(path), str(error), True))


def refuse_each(kind: FaultKind, texts: Sequence[tuple[str | PathLike[str], str]], summary: str) -> None:
    """Raises an `InputError` with the summary if there are faults, given by path and text; see `refuse`."""
    if texts and _collected.get() is None:
        raise InputError(summary)
    for path, text in texts:
        refuse(kind, path, InputError(text))


def usable(kind: FaultKind, path: str | PathLike[str], read: Callable[..., Result], *args: object) -> Result | None:
    """Returns `read(*args)`; None if this is an `InputError` and faults are collected; see `refuse`."""
    try:
        return read(*args)
    except InputError as error:
        refuse(kind, path, error)
        return None


def is_refused(path: str | PathLike[str]) -> bool:
    """Returns whether a fault of this file was noted that a training would stop at."""
    found = _collected.get()
    return found is not None and shown(path) in found.refused


def note(kind: FaultKind, path: str | PathLike[str], text: str) -> None:
    """Notes a fault that a training corrects or leaves out, while faults are collected."""
    if (found := _collected.get()) is not None:
        found.append(Fault(kind, shown(path), text, False))


def is_collecting() -> bool:
    """Returns whether faults are collected, so that those are worth looking for that a training would not meet."""
    return _collected.get() is not None
