"""Decoding of mask files into one class index per pixel."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.core.headers import choose_page, layouts, load_page, opened, upright
from visiontasks.core.images import decoding, read_bytes, read_image, shown
from visiontasks.core.sample import IGNORE_MASK
from visiontasks.core.words import counted, verb

MAX_CLASSES = IGNORE_MASK
SAVE_AGAIN = "Export the mask again as a PNG file with one class per pixel value."


class MaskEncoding:
    """How the pixels of a mask encode the classes.

    By default the pixel value is the class index: the value of gray and 1-bit images, the palette index of palette
    images. 255 is ignored if no class has that value. A mask of two classes that has 255 and no 1 is an error, because
    many tools write the second class as 255. Formats that change values, and alpha channels, are not read.

    Args:
        num_classes: Number of classes, at most 255.
        values: If given, the pixel value of each class.
        colors: If given, the color of each class, RGB, 0..255; palette images are then read by color too.
        ignore: Values, or colors, of pixels that are ignored.

    Raises:
        InputError: The number of values or colors is not `num_classes`, two are equal, or both are given.
    """

    def __init__(
        self,
        num_classes: int,
        values: Sequence[int] | None = None,
        colors: Sequence[Sequence[int]] | None = None,
        ignore: Sequence[int] | Sequence[Sequence[int]] = (),
    ) -> None:
        if not 1 <= num_classes <= MAX_CLASSES:
            raise InputError(f"class_names: a mask can have 1 to {MAX_CLASSES} classes; found {num_classes}.")
        if values is not None and colors is not None:
            raise InputError("values and colors: a mask has one of them; give only that one.")
        self.by_color = colors is not None
        self._option = name = "colors" if self.by_color else "values"
        given = colors if colors is not None else values if values is not None else range(num_classes)
        if len(given) != num_classes:
            raise InputError(f"{name}: {len(given)} for {num_classes} classes; give one per class, in their order.")
        codes = [self._code(value, name) for value in given]
        ignored = [self._code(value, "ignore") for value in ignore]
        self._two_values = False
        if not self.by_color and IGNORE_MASK not in codes + ignored:
            ignored.append(IGNORE_MASK)
            self._two_values = codes == [0, 1]  # masks of 0 and 255 are common
        known = codes + ignored
        if twice := sorted({code for code in known if known.count(code) > 1}):
            raise InputError(f"{name}, ignore: {self._shown(twice[0])} occurs twice.")
        order = np.argsort(known)
        self._known = np.array(known, np.int64)[order]
        self._classes = np.array([*range(num_classes), *[IGNORE_MASK] * len(ignored)], np.uint8)[order]

    def read(self, path: str | Path, page: int | None = None) -> np.ndarray:
        """Reads the class of each pixel of a mask file, uint8 (H, W), 255 where it is ignored.

        A file with several pages is read at the page of its image; a single page belongs to every page of the image.

        Raises:
            InputError: The file cannot be read, or a pixel has no class; the message names file, value and count.
        """
        pixels = read_values(path, self.by_color, page)
        if self._two_values and (count := int(np.count_nonzero(pixels == IGNORE_MASK))) and not (pixels == 1).any():
            are = f"{counted(count, 'pixel')} {verb(count, 'is', 'are')}"
            fault = f"{are} 255 and none is 1. Set `values: [0, 255]` if 255 is the second class"
            raise InputError(f"{shown(path)}: {fault}, or `ignore: [255]` if these pixels do not count.")
        places = np.searchsorted(self._known, pixels).clip(max=len(self._known) - 1)
        unknown = self._known[places] != pixels
        if unknown.any():
            values, counts = np.unique(pixels[unknown], return_counts=True)
            value = self._shown(int(values[counts.argmax()]))
            more = len(values) - 1
            others = f", and {counted(more, 'other value')} {verb(more, 'is', 'are')} none" if more else ""
            known = ", ".join(self._shown(int(code)) for code in self._known)
            most = int(counts.max())
            are = f"{counted(most, 'pixel')} {verb(most, 'is', 'are')}"
            fault = f"{are} {value}, which is no class{others}. Known are {known}"
            raise InputError(f"{shown(path)}: {fault}. Declare it in `{self._option}` or `ignore`.")
        return self._classes[places]

    def _code(self, value: object, name: str) -> int:
        parts = list(value) if isinstance(value, (list, tuple)) else [value]
        limit, count = (255, 3) if self.by_color else (65535, 1)
        if len(parts) != count or not all(isinstance(part, int) and 0 <= part <= limit for part in parts):
            expected = "[red, green, blue], each 0..255" if self.by_color else "a pixel value, 0..65535"
            raise InputError(f"{name}: {value!r} is not {expected}.")
        return sum(int(part) << shift for part, shift in zip(parts[::-1], (0, 8, 16), strict=False))

    def _shown(self, code: int) -> str:
        return str([code >> 16, code >> 8 & 255, code & 255] if self.by_color else code)


class MaskThreshold:
    """Masks of two classes that were written in gray: blurred edges, or JPEG files, whose values are not exact.

    Args:
        num_classes: Number of classes, which must be two.
        threshold: Value from which on the brightest channel of a pixel shows the second class, 1..255.

    Raises:
        InputError: An argument has another value.
    """

    def __init__(self, num_classes: int, threshold: int) -> None:
        if num_classes != 2 or not 1 <= threshold <= 255:
            raise InputError(f"threshold: {threshold} must be 1 to 255, and divides two classes; found {num_classes}.")
        self.threshold = threshold

    def read(self, path: str | Path, page: int | None = None) -> np.ndarray:
        """Reads the class of each pixel of a mask file, uint8 (H, W); raises an InputError if it cannot be read."""
        return (read_image(path, page=page).max(2) >= self.threshold).astype(np.uint8)


def read_values(path: str | Path, by_color: bool = False, page: int | None = None) -> np.ndarray:
    """Reads the value of every pixel of a mask file, or a number for its color: int64 (H, W).

    Raises:
        InputError: The file cannot be read, or its format changes values; the message names it.
    """
    data, name = read_bytes(path), shown(path)
    with decoding(name, "mask"), opened(BytesIO(data)) as image:
        choose_page(image, name, page if getattr(image, "is_animated", False) else None)
        if fault := _changes_values(image, data):
            raise InputError(f"{fault}, and with them classes. {SAVE_AGAIN}")
        stored = load_page(image)
        by_value = image.mode in ("1", "L", "P", "F") or image.mode.startswith("I")
        values = upright(np.asarray(image if by_value and not by_color else image.convert("RGB")), stored)
        if image.mode.endswith("A") and (values == values[0, 0]).all() and _varies(image.getchannel("A")):
            raise InputError(f"only its alpha channel has different values, and alpha is not read. {SAVE_AGAIN}")
        with np.errstate(invalid="ignore"):
            pixels = values.astype(np.int64)
        if values.dtype.kind == "f" and (values != pixels).any():
            raise InputError(f"its values are fractions. {SAVE_AGAIN}")
    if by_color:
        return pixels @ np.array([1 << 16, 1 << 8, 1])
    if pixels.ndim == 2:
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise InputError(f"{name}: the mask has colors; declare the color of each class in `colors`.")
    return pixels[..., 0]


def _changes_values(image: Image.Image, data: bytes) -> str:
    """Returns why an opened mask has other values than were saved; empty if it has the same."""
    if image.format in ("JPEG", "MPO", "AVIF") or (image.format == "WEBP" and b"VP8L" not in data):
        return f"{image.format} compression changes pixel values"
    if image.format == "PPM" and any(len(stored) == 2 and stored[1] not in (255, 65535) for stored in layouts(image)):
        return "a PPM file with another maximum than 255 or 65535 changes pixel values"
    return ""


def _varies(band: Image.Image) -> bool:
    low, high = band.getextrema()
    return low != high
