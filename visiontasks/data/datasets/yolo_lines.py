"""Lines of YOLO's text files."""

from pathlib import Path

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.faults import UnknownClass, usable
from visiontasks.data.datasets.records import Annotation, OnInvalidBox
from visiontasks.data.splits import read_list

ROUNDED = 1e-4  # how far beyond 0..1 a side may be, because the numbers in the files are rounded


def read_lines(file: Path, image: Path, names: list[str], boxes: OnInvalidBox) -> list[Annotation]:
    """Reads the objects of an image from its file of labels; boxes and polygons are in 0..1 of it.

    Raises:
        InputError: A line is neither a box nor a polygon of a known class; the message names it.
    """
    found: list[Annotation] = []
    for where, line in usable("annotation", image, read_list, file) or ():
        if (numbers := usable("annotation", image, _numbers, line.split(), names, where)) is not None:
            one = usable("box", image, _object, numbers[1:], names[int(numbers[0])], boxes, where)
            found += [one] if one else []
    return found


def _numbers(words: list[str], names: list[str], where: str) -> np.ndarray:
    """Returns the numbers of a line. The first one is the index of a class in `names`."""
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        raise InputError(f"{where}: expected numbers; found {' '.join(words)[:100]!r}.") from None
    if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0):
        expected = "expected a class and x, y, width, height, or a polygon x, y, x, y, x, y, ..."
        raise InputError(f"{where}: {expected}; found {len(numbers)} numbers.")
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: {' '.join(words)[:100]!r} has values that are not finite. Correct it.")
    if not numbers[0].is_integer() or not 0 <= numbers[0] < len(names):
        known = f"0 to {len(names) - 1}, the places in `names`"
        raise UnknownClass(f"{where}: class {words[0][:20]!r} is not one of {known}.")
    return numbers


def _object(values: np.ndarray, label: str, boxes: OnInvalidBox, where: str) -> Annotation:
    """Makes an object of the numbers of a line."""
    outline = values.reshape(-1, 2) if len(values) > 4 else _corners(*values)
    if ((wrong := (outline < -ROUNDED) | (outline > 1 + ROUNDED)).any() and boxes == "error") or abs(values).max() > 2:
        value = values[abs(values).argmax()] if abs(values).max() > 2 else outline[wrong][0]
        found = f"{value:g} is not in 0..1, a share of the image"
        raise InputError(f"{where}: {found}. Divide pixels by its size, or correct it, or set `boxes: clip`.")
    if len(values) == 4 and values[2:].min() <= 0:
        raise InputError(f"{where}: the box has a width or height of {values[2:].min():g}. Correct or remove it.")
    outline = np.where(wrong, outline, outline.clip(0, 1))
    low, high = outline.min(0), outline.max(0)
    polygon = [outline.ravel()] if len(values) > 4 else None
    return Annotation(label, (*low.tolist(), *high.tolist()), where, shape=polygon)


def _corners(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([[x - width / 2, y - height / 2], [x + width / 2, y + height / 2]])
