"""Regions of an image that a file describes by polygons or run lengths, as COCO does."""

import re
import reprlib
from typing import Any, NamedTuple, Self

import numpy as np

from visiontasks.core.errors import InputError

LONGEST_OUTLINE = 10_000_000  # pixels: pycocotools needs 80 bytes for each, and crashes if memory runs out

Shape = list[np.ndarray] | np.ndarray
"""Polygons, float64 (x, y, x, y, ...), or the lengths of runs, int64, column by column, the first outside."""


class Patch(NamedTuple):
    """Pixels of an object in a rectangle of its image: the lengths of runs, row by row, the first of pixels outside."""

    left: int
    top: int
    height: int
    width: int
    runs: tuple[int, ...]

    @classmethod
    def of(cls, pixels: np.ndarray, left: int, top: int) -> Self:
        """Makes a patch of its pixels, bool (height, width)."""
        flat = np.r_[False, pixels.ravel()]
        ends = np.flatnonzero(flat[1:] != flat[:-1])
        return cls(left, top, *pixels.shape, tuple(np.diff(np.r_[0, ends, pixels.size]).tolist()))

    @property
    def pixels(self) -> np.ndarray:
        """Whether each pixel is inside, bool (height, width)."""
        return np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs).reshape(self.height, self.width)

    def places(self, size: tuple[int, int]) -> np.ndarray:
        """Returns the places of its pixels in an image (height, width), column by column, without those outside."""
        columns, rows = (
            part + start for part, start in zip(self.pixels.T.nonzero(), (self.left, self.top), strict=True)
        )
        inside = (columns >= 0) & (columns < size[1]) & (rows >= 0) & (rows < size[0])
        return columns[inside] * size[0] + rows[inside]


def read_shape(value: Any, size: tuple[int, int], where: str) -> Shape:
    """Checks COCO's `segmentation` of an object without drawing it; `size` is (height, width) of the image.

    Raises:
        InputError: It is neither polygons nor run lengths of an image of this size.
    """
    if isinstance(value, dict):
        return _run_lengths(value, size, where)
    if isinstance(value, list) and any(isinstance(part, Patch) for part in value):
        return _joined(value, size, where)
    if isinstance(value, list) and value:
        return [_polygon(polygon, size, where) for polygon in value]
    fault = f"segmentation must be a list of polygons, or an RLE with size and counts; found {value!r}"
    advice = "Add it or remove the annotation. If the file has only boxes, use `CocoBoxes` without `masks`."
    raise InputError(f"{where}: {fault}. {advice}")


def shape_runs(shape: Shape, height: int, width: int) -> np.ndarray:
    """Returns the lengths of a region's runs; overlapping polygons of one object are united."""
    if isinstance(shape, np.ndarray):
        return shape
    from pycocotools import mask

    return _unpacked(mask.merge(mask.frPyObjects(shape, height, width))["counts"].decode())


def shape_pixels(shape: Shape, height: int, width: int) -> np.ndarray:
    """Returns whether each pixel is inside, bool (height, width)."""
    runs = shape_runs(shape, height, width)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _polygon(value: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """Checks a polygon, float64 (2 N,), x and y in turn; pycocotools crashes on one that is too large."""
    numbers = _numbers(value)
    infinite = numbers[~np.isfinite(numbers)]
    if len(numbers) < 6 or len(numbers) % 2 or len(infinite):
        found = infinite[0] if len(infinite) else f"{len(numbers)} numbers: {reprlib.repr(value)}"
        expected = "a polygon must be x, y, x, y, ..., an even number of at least 6 finite numbers"
        raise InputError(f"{where}: {expected}; found {found}. Correct or remove it.")
    if numbers.min() >= 0 and numbers.max() <= 1:
        raise InputError(f"{where}: the polygon has shares of the image; expected pixels. Multiply by its size.")
    height, width = size
    x, y = numbers[::2], numbers[1::2]
    if x.min() < -width or x.max() > 2 * width or y.min() < -height or y.max() > 2 * height:
        found = f"the polygon reaches from x = {x.min():g}, y = {y.min():g} to {x.max():g}, {y.max():g}"
        raise InputError(f"{where}: {found}, and the image has {width} x {height} pixels. Export it for this image.")
    if len(x) * 3 * max(size) > LONGEST_OUTLINE:  # the exact length takes longer to compute
        outline = np.maximum(abs(x - np.roll(x, 1)), abs(y - np.roll(y, 1))).sum()
        if outline > LONGEST_OUTLINE:
            found = f"the polygon's outline is {outline:,.0f} pixels long"
            raise InputError(f"{where}: {found}, limit {LONGEST_OUTLINE:,}. Simplify it.")
    return numbers.astype(np.float64)


def _run_lengths(rle: dict[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Returns the lengths of the runs, column by column, the first outside the object: int64 (N,).

    pycocotools would show uninitialized memory if they are too short, and read beyond a string that is cut short.
    """
    if rle.get("size") != list(size):
        found = f"the RLE has size {rle.get('size')!r}, and the image [height, width] = {list(size)}"
        raise InputError(f"{where}: {found}. Export it for this image.")
    counts = rle.get("counts")
    runs = _unpacked(counts) if isinstance(counts, str) else _numbers(counts)
    pixels = size[0] * size[1]
    if runs.dtype.kind not in "iu" or ((runs < 0) | (runs > pixels)).any() or runs.sum() != pixels:
        expected = f"lengths of runs, or COCO's string of them, with the sum {size[0]} x {size[1]} = {pixels}"
        found = reprlib.repr(counts)
        raise InputError(f"{where}: the RLE's counts must be {expected}; found {found}. Export it again.")
    return runs.astype(np.int64)


def _joined(parts: list[Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Returns the lengths of the runs of an object that has patches, and perhaps polygons."""
    places = [
        part.places(size)
        if isinstance(part, Patch)
        else shape_pixels([_polygon(part, size, where)], *size).T.ravel().nonzero()[0]
        for part in parts
    ]
    found = np.unique(np.concatenate(places))
    starts, ends = found[np.diff(found, prepend=-2) > 1], found[np.diff(found, append=size[0] * size[1] + 1) > 1]
    return np.diff(np.r_[0, np.stack([starts, ends + 1], 1).ravel(), size[0] * size[1]])


def _numbers(value: Any) -> np.ndarray:
    """Converts a flat list of numbers to an array, and anything else to an empty array of floats."""
    try:
        numbers = np.asarray(value if isinstance(value, list) else [])
    except (ValueError, OverflowError):
        return np.empty(0)
    return numbers if numbers.ndim == 1 and numbers.dtype.kind in "iuf" else np.empty(0)


def _unpacked(text: str) -> np.ndarray:
    """Decodes the run lengths in a COCO string, int64 (N,); an empty array of floats if the string is not valid.

    A character holds 5 bits of a number, the lowest bits first, and a sixth bit that is set if more follow. From the
    fourth number on, each is the difference to the last but one.
    """
    if not re.fullmatch("(?:[P-o]{0,5}[0-O])+", text):
        return np.empty(0)
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero(codes < 32) + 1
    starts = np.r_[0, ends[:-1]]
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= (codes[ends - 1] >> 4) << 5 * (ends - starts)  # the highest bit is the sign
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
