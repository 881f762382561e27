"""Groups and series of images, by their names: patients, videos, frames."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from visiontasks.data.splits import split_of, without_split

YEAR = re.compile(r"(19|20)\d\d")
PARTS = re.compile(r"[^_\-. ]+")
VIEWS = re.compile(r"[a-z]|left|right|front|back|top|bottom|side|od|os", re.IGNORECASE)  # of one eye, patient, part
COMPACT = re.compile(r"([A-Za-z]+\d+)[A-Za-z]+\d+")
LAST = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)


class Numbered(NamedTuple):
    """The name of an image as a frame of a series: what the names of the series have in common, and its number."""

    series: str
    number: int


def group_of(name: str, classes: Sequence[str]) -> str | None:
    """Returns the patient, video ... that a name says: `0016E5` of `0016E5_00390.png`; None if it says none.

    This is the first folder with a digit, unless it is a class or a split, or else the beginning of the file name up to
    the first part with a digit, if another one or a word such as `left` follows.
    """
    path = PurePosixPath(name)
    folders = [part for part in path.parts[:-1] if part not in classes and not split_of(part)]
    if found := next((part for part in folders if any(map(str.isdigit, part))), None):
        return without_split(found)[0]
    parts = [*PARTS.finditer(path.stem)]
    numbers = [part for part in parts if any(map(str.isdigit, part[0])) and not YEAR.fullmatch(part[0])]
    if len(numbers) > 1:
        return path.stem[: numbers[0].end()]
    if numbers and len(parts) > 1 and parts[-2].end() == numbers[0].end() and VIEWS.fullmatch(parts[-1][0]):
        return path.stem[: numbers[0].end()]
    compact = COMPACT.fullmatch(path.stem)
    return compact[1] if compact else None


def number_of(name: str) -> Numbered | None:
    """Returns the series and the number of an image, by the last number in the name; None if it has none."""
    path = PurePosixPath(name)
    found = LAST.fullmatch(path.stem[::-1])
    if found is None:
        return None
    folders = [part for part in path.parts[:-1] if not split_of(part)]
    rest = "/".join([*folders, found[3][::-1] + "#" + found[1][::-1]])
    return Numbered(rest, int(found[2][::-1]))


def members(names: dict[str, list[str]], classes: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """Returns the images of each group, as split and place; images without a group are left out."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for split, those in names.items():
        for index, name in enumerate(those):
            if group := group_of(name, classes):
                found[group].append((split, index))
    return dict(found)


def series(names: dict[str, list[str]]) -> dict[str, list[tuple[int, str, int]]]:
    """Returns the images of each series, as number, split and place, by rising number."""
    found: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for split, those in names.items():
        for index, name in enumerate(those):
            if numbered := number_of(name):
                found[numbered.series].append((numbered.number, split, index))
    return {name: sorted(images) for name, images in found.items()}
