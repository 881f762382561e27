"""Annotated objects of image files, and the checks of what an annotation states."""

import math
from collections import defaultdict
from collections.abc import Sequence
from filecmp import cmp
from os.path import getsize, isfile, realpath
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError

OnInvalidBox = Literal["error", "clip"]
Box = tuple[float, float, float, float]
LEAST_SIDE = 1.0  # pixels: a smaller object cannot be seen


class Annotation(NamedTuple):
    """One object: its class name, its box (xyxy in pixels, None if unknown), and where it is written."""

    label: str
    box: Box | None
    where: str


class Record(NamedTuple):
    """An image file, its name in the set, all its objects, the stated height and width, and other targets by key."""

    path: Path
    name: str
    annotations: list[Annotation]
    size: tuple[int, int] | None = None
    others: dict[str, Any] = {}  # noqa: RUF012 - never changed


def checked_box(box: Box, size: tuple[int, int], boxes: OnInvalidBox, where: str) -> Box | None:
    """Returns a box, xyxy in pixels, that is inside an image of `size` (height, width); `clip` cuts it to the image.

    The result is None if a clipped box has no area. `where` says in messages where the box is written.

    Raises:
        InputError: The box is not finite; or it is outside, inverted or without area, and `boxes` is `error`.
    """
    (height, width), (x1, y1, x2, y2) = size, box
    shown = f"[{', '.join(f'{value:g}' for value in box)}]"
    if not all(map(math.isfinite, box)):
        raise InputError(f"{where}: box {shown} has values that are not finite. Correct it.")
    has_area = min(x2 - x1, y2 - y1) >= LEAST_SIDE
    if has_area and min(x1, y1) >= 0 and x2 <= width and y2 <= height:
        return box
    if boxes == "error":
        fault = "is outside the image" if has_area else "is inverted or has no area"
        fault += f"; the image is {width} pixels wide and {height} high"
        raise InputError(f"{where}: box {shown} (xmin, ymin, xmax, ymax) {fault}. Correct it, or set `boxes: clip`.")
    x1, y1, x2, y2 = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= LEAST_SIDE else None


def four_numbers(values: Any, where: str, expected: str) -> Box:
    """Converts four values to floats; the message of the `InputError` for anything else says what is `expected`."""
    try:
        first, second, third, fourth = map(float, values)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: {expected}; found {values!r}.") from None
    return first, second, third, fourth


def without_copies(split: str, files: Sequence[Path], chosen: list[int]) -> list[int]:
    """Returns `chosen`, places in `files`; for train without files that are byte for byte the same as one not chosen.

    Only files of equal length are read. The log counts the copies; if no file is left, that is an `InputError`.
    """
    if split != "train" or len(chosen) == len(files):
        return chosen
    others: dict[int, list[Path]] = defaultdict(list)  # by their lengths
    try:
        for i in set(range(len(files))).difference(chosen):
            others[getsize(files[i])].append(files[i])
        left = [i for i in chosen if not any(cmp(files[i], f, shallow=False) for f in others[getsize(files[i])])]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from None
    if copies := len(chosen) - len(left):
        rank_zero_info(f"{copies} of {len(chosen)} training images left out, the same file as one held out.")
    if not left:
        raise InputError(f"{files[chosen[0]]}: this and every other training image is the same file as one held out.")
    return left


def file_inside(root: Path, name: str, where: str) -> Path:
    """Returns the path of the file `name` below `root`; raises an `InputError` if it leaves `root` or is missing."""
    if "\0" in name or not Path(realpath(root / name)).is_relative_to(realpath(root)):
        raise InputError(f"{where}: {name!r} leaves {root}. Set the folder of the images to one above them.")
    if not isfile(root / name):  # unlike Path.is_file, for a name of any length
        raise InputError(f"{where}: no such file: {root / name}.")
    return root / name


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
