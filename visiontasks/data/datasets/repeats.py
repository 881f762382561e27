"""What is said of objects and rows that are there twice."""

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.faults import note
from visiontasks.core.words import counted, verb


def warn_of_repeats(where: str | Path, number: int, noun: str, same: str) -> None:
    """Says how many things do not count, because they have the `same` as one before them."""
    if number:
        has, does, them = ("has", "does", "it") if number == 1 else ("have", "do", "them")
        rank_zero_warn(f"{where}: {counted(number, noun)} {has} {same} one before {them} and {does} not count.")


def note_repeats(path: str | Path, where: str | Path, number: int, noun: str) -> None:
    """Notes how many objects of an image are there twice."""
    if number:
        note("double", path, f"{where}: {counted(number, noun)} {verb(number, 'is', 'are')} there twice.")
