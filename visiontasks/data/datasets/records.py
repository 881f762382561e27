"""Annotated objects of image files, and the checks of what an annotation states."""

import math
import os
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from os import listdir
from os.path import abspath, exists, isdir, isfile, join, realpath
from pathlib import Path, PurePath
from stat import S_ISREG
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse, refuse_each, usable
from visiontasks.core.folders import images_below
from visiontasks.core.text import normal
from visiontasks.data.datasets.files import Files
from visiontasks.data.datasets.regions import Patch

OnInvalidBox = Literal["error", "clip"]
Box = tuple[float, float, float, float]
Item = TypeVar("Item")
BELOW = "**/"  # in front of names of files in any folder
OF_SHARES = "Multiply by its size; a table is read as it is with `box_format: xyxy_shares` (xywh_, cxcywh_)."
LEAST_SIDE = 1.0  # pixels: a smaller object cannot be seen


class Annotation(NamedTuple):
    """One object: its class name, its box (xyxy in pixels, None if unknown), where it is written, whether it is a
    crowd, and COCO's `segmentation` (None if unknown), which becomes a `Shape` when it is checked."""

    label: str
    box: Box | None
    where: str
    crowd: bool = False
    shape: Any = None


class Record(NamedTuple):
    """An image file, its name in the set, all its objects, other targets by key, the stated height and width, and
    whether it is annotated: without an object, it is then known to have none."""

    path: str | Path
    name: str
    annotations: list[Annotation]
    others: dict[str, Any] = {}  # noqa: RUF012 - never changed
    size: tuple[int, int] | None = None
    annotated: bool = True


def checked_box(box: Box, size: tuple[int, int], boxes: OnInvalidBox, where: str) -> Box | None:
    """Returns a box, xyxy in pixels, that is inside an image of `size` (height, width); `clip` cuts it to the image.

    The result is None if a clipped box has no area. `where` says in messages where the box is written.

    Raises:
        InputError: The box is not finite; or it is outside, inverted or without area, and `boxes` is `error`.
    """
    (height, width), (x1, y1, x2, y2) = size, box
    has_area = min(x2 - x1, y2 - y1) >= LEAST_SIDE
    if has_area and x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height:
        return box
    shown = f"[{', '.join(f'{value:g}' for value in box)}]"
    if not all(map(math.isfinite, box)):
        raise InputError(f"{where}: box {shown} has values that are not finite. Correct it.")
    if not has_area and min(box) >= 0 and 0 < max(box) <= 1:
        raise InputError(f"{where}: box {shown} has shares of the image; expected pixels. {OF_SHARES}")
    if boxes == "error":
        fault = "is outside the image" if has_area else "is inverted or has no area"
        fault += f"; the image is {width} pixels wide and {height} high"
        raise InputError(f"{where}: box {shown} (xmin, ymin, xmax, ymax) {fault}. Correct it, or set `boxes: clip`.")
    x1, y1, x2, y2 = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= LEAST_SIDE else None


def without_repeats(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Returns the objects without those of the same class, box and outline as one before them."""
    return first_of_each(annotations, [(a.label, a.box, str(a.shape)) if a.box else a.where for a in annotations])


def outlined(label: str, outline: np.ndarray, where: str) -> Annotation:
    """Returns an object with the smallest box around its outline, x and y of corners: float64 (N, 2)."""
    (x1, y1), (x2, y2) = outline.min(0).tolist(), outline.max(0).tolist()
    return Annotation(label, (x1, y1, x2, y2), where, shape=[outline.ravel().tolist()])


def patched(label: str, patch: Patch, where: str) -> Annotation:
    """Returns an object with the smallest box around the pixels of a patch; without any, that is an InputError."""
    pixels = patch.pixels
    rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    if not len(rows):
        raise InputError(f"{where}: no pixel of the mask is inside. Draw or remove it.")
    x1, y1, x2, y2 = (int(end) for end in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    left, top = patch.left, patch.top
    return Annotation(label, (x1 + left, y1 + top, x2 + left, y2 + top), where, shape=[patch])


def ellipse(center: np.ndarray, radii: Any) -> np.ndarray:
    """Returns points of an ellipse, float64 (72, 2): its chords are at most 0.1 % of the radius inside."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return center + radii * np.stack([np.cos(angles), np.sin(angles)], 1)


def four_numbers(values: Any, where: str, expected: str) -> Box:
    """Converts four values to floats; the message of the `InputError` for anything else says what is `expected`."""
    try:
        first, second, third, fourth = map(float, () if isinstance(values, str) else values)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: {expected}; found {values!r}.") from None
    return first, second, third, fourth


def file_inside(root: Path, name: str, where: str) -> Path:
    """Returns the path of the file `name` below `root`; see `files_inside`."""
    return files_inside(root, [(name, where)])[0]


def files_inside(root: Path, names: Iterable[tuple[str, str]]) -> Files:
    """Returns the files below `root`, given by their names and the places where these are written.

    A name that is written in another Unicode form, or with the backslashes of Windows, is found too. While faults are
    collected, missing files keep their places; see `Files.has`.

    Raises:
        InputError: A name leaves `root`, or files are missing; the message names the first ones and counts them.
    """
    names, paths, sizes, missing, above = list(names), [], [], [], join(root, "")
    for name, where in names:
        path = above + name
        size = None if ".." in name or name[:1] == "/" else _size(path)
        if size is None and (found := usable("file", name, _found, root, name, where)):
            path = str(found)
            if (size := _size(path)) is None:
                missing.append((name, where))
        sizes.append(-1 - len(paths) if size is None else size)  # no other file has this length
        paths.append(path)
    if missing:
        name, where = missing[0]
        more = ", ".join(name for name, _ in missing[:3]) + (", ..." if len(missing) > 3 else "")
        counted = f" {len(missing)} of {len(names)} files are missing: {more}." if len(missing) > 1 else ""
        texts = [f"{where}: no such file: {root / name}." for name, where in missing]
        faults = [(root / name, text + _of_backslashes(name)) for (name, _), text in zip(missing, texts, strict=True)]
        refuse_each("file", faults, f"{texts[0]}{counted}{_of_backslashes(name)}")
    return Files(paths, sizes)


def below(root: Path, names: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns the names of files, and where they are written, with the folders below `root` in which the files are.

    Raises an InputError if two files below `root` have such a name.
    """
    wanted, found = {normal(name) for name, _ in names}, dict[str, str]()
    for path in images_below(root):
        name, place = normal(path.name), path.relative_to(root).as_posix()
        if name in wanted and (twin := found.setdefault(name, place)) != place:
            fault = f"{root}: {twin} and {place} have the same name. Write the folders into the table."
            refuse("twice", path, InputError(fault))
    return [(found.get(normal(name), name), where) for name, where in names]


def _size(path: str) -> int | None:
    """Returns the length of a file; None if there is none, whatever its name is."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size if S_ISREG(found.st_mode) else None


def _found(root: Path, name: str, where: str) -> Path:
    plain = name if isfile(root / name) else name.replace("\\", "/")
    full = PurePath(abspath(root / plain))
    inside = next((full.relative_to(top) for top in (abspath(root), realpath(root)) if full.is_relative_to(top)), None)
    if inside is None or "\0" in name:
        advice = "Set the folder of the images to one above them."
        raise InputError(f"{where}: {name!r} leaves {root}. {advice}{_of_backslashes(name)}")
    path = root
    for part in inside.parts:
        path /= part if exists(path / part) else _by_normal_name(path).get(normal(part), part)
    return path


def _of_backslashes(name: str) -> str:
    """Returns what a message says of a path that was written on Windows; nothing of others."""
    text = " Backslashes, as Windows writes them, are read as slashes; correct the folders before the file name."
    return text if "\\" in name else ""


def _by_normal_name(folder: Path) -> dict[str, str]:
    return _listed(folder, folder.stat().st_mtime_ns) if isdir(folder) else {}


@lru_cache(maxsize=16)
def _listed(folder: Path, changed: int) -> dict[str, str]:
    return {normal(name): name for name in listdir(folder)}


def first_of_each(found: Sequence[Item], keys: Sequence[Hashable]) -> list[Item]:
    """Returns the first one found of each key, in order."""
    first: dict[Hashable, Item] = {}
    for key, one in zip(keys, found, strict=True):
        first.setdefault(key, one)
    return list(first.values())


def stated_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Returns the height and width that a file states; None if they are missing or, as some tools write, 0."""
    try:
        size = int(height), int(width)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def area(annotation: Annotation) -> float:
    """Returns the area of the box in square pixels, 0 if it is unknown."""
    x1, y1, x2, y2 = annotation.box or (0.0, 0.0, 0.0, 0.0)
    return (x2 - x1) * (y2 - y1)
