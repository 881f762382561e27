"""What an image file says apart from its pixels: format, size, orientation, pages."""

import io
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from struct import calcsize, unpack, unpack_from
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, features

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import MAX_PIXELS

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM")  # Pillow reads MPO as JPEG
ORIENTATION, SUBFILE, DNG = 274, 254, 50706  # tags of EXIF and TIFF
LARGE_CHUNK = 1 << 24  # bytes
FRAMES = (b"IDAT", b"acTL", b"fcTL", b"fdAT")  # chunks of a PNG file: the pixels, and the frames of an animation

# EXIF orientation: function that turns a stored array upright (Exif 2.32, section 4.6.4, tag 274)
_UPRIGHT = {
    1: np.asarray,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
_STARTS = {  # of files that are not read, and what they are
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0"), "a broken TIFF image, or one with bands of a rare kind"),
}
_with_pages: list[str] = []  # files with several pages that a message of this process named


@contextmanager
def opened(file: BinaryIO) -> Generator[Image.Image]:
    """Opens an image file with Pillow, which decodes no pixels yet.

    Raises:
        InputError: The file is empty, or the image has too many pixels or a format that is not read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size limit is an error here; no other warning concerns the pixels
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.UnidentifiedImageError:
            file.seek(0)
            start = file.read(64)
            if not start:
                raise InputError("the file is empty. Remove or restore it.") from None
            if name := _unread(start):
                raise InputError(f"{name}, which is not read. Convert it to JPEG or PNG.") from None
            raise
        except Image.DecompressionBombError:
            raise InputError(f"more pixels than the limit of {MAX_PIXELS:,}. Scale the image down.") from None
        with image:
            check_size(*image.size)
            tags = getattr(image, "tag_v2", {})
            if DNG in tags or tags.get(SUBFILE, 0) & 1:
                raise InputError("a raw photo, whose first image is a thumbnail. Convert it to JPEG or PNG.")
            yield image


def _unread(start: bytes) -> str:
    """Returns what a file is that begins like this; empty if it is unknown."""
    if start[4:8] == b"ftyp":
        if b"avif" in start:
            return "" if features.check("avif") else "an AVIF image"  # Pillow can be built without it
        return "a HEIC image" if b"heic" in start or b"mif1" in start else ""
    return next((name for magic, name in _STARTS.items() if start.startswith(magic)), "")


def check_size(width: int, height: int) -> None:
    """Raises an `InputError` if an image has too many pixels."""
    if width * height > MAX_PIXELS:
        raise InputError(f"{width}x{height} pixels, more than the limit of {MAX_PIXELS:,}. Scale the image down.")


def layouts(image: Image.Image) -> list[tuple]:
    """Returns how the parts of an image that is opened, but not decoded, are stored: Pillow's mode of the file, ..."""
    arguments = [part.args for part in getattr(image, "tile", ())]
    return [args if isinstance(args, tuple) else (args,) for args in arguments if args]


def orientation(image: Image.Image) -> int:
    """Returns how the pixels are stored: the orientation 1..8 of EXIF, or of XMP if EXIF has none; 1 is upright."""
    with suppress(Exception):  # broken metadata do not cost the picture
        value = Image.Image.getexif(image).get(ORIENTATION, 1)  # that of a PNG image would decode the pixels
        return value if value in _UPRIGHT else 1
    return 1


def upright(pixels: np.ndarray, stored: int) -> np.ndarray:
    """Turns stored pixels (H, W, ...) upright by their orientation: C-contiguous."""
    return np.ascontiguousarray(_UPRIGHT[stored](pixels))


def is_page(value: Any) -> bool:
    """Returns whether a value is None or the number of a page: 1, 2, ..."""
    return value is None or (type(value) is int and value >= 1)


def choose_page(image: Image.Image, name: str, page: int | None) -> None:
    """Moves an opened image to one of its pages or frames; 1 is the first.

    By default the image stays where it is, and the log says once if a file has several pages.

    Raises:
        InputError: The image has fewer pages.
    """
    if page is None:
        _warn_of_pages(image, name)
    elif not seek_page(image, page):
        raise InputError(no_page(image, page))


def seek_page(image: Image.Image, page: int) -> bool:
    """Moves an opened image to a page, and returns whether it has this page."""
    try:
        for number in range(page):  # one by one: Pillow miscounts the pages of a TIFF if it seeks past the last
            image.seek(number)
    except EOFError:
        return False
    check_size(*image.size)
    return True


def no_page(image: Image.Image, page: int) -> str:
    """Returns the message that an image lacks a page."""
    count = getattr(image, "n_frames", 1)
    return f"no page {page}; the file has {count}. Set `data.page` to a page that every file has."


def said_of_pages(name: str) -> None:
    """Notes that a message has told that files, such as this one, have several pages."""
    _with_pages.append(name)


def _warn_of_pages(image: Image.Image, name: str) -> None:
    with suppress(Exception):  # broken pages after the first do not matter
        if not _with_pages and image.format != "MPO" and getattr(image, "is_animated", False):
            found = image.tell() + 1, getattr(image, "n_frames", 1)
            said_of_pages(name)
            text = "%s: only page %d of %d is read, here and in all files. `data.page` chooses another."
            logging.getLogger(__name__).warning(text, name, *found)


def load_page(image: Image.Image) -> int:
    """Decodes the pixels of the page that an opened image is at, and returns their orientation."""
    image.load()
    return 1 if image.format == "TIFF" else orientation(image)  # Pillow turns TIFF images as it loads them


def has_pages(file: BinaryIO) -> bool:
    """Returns whether an opened TIFF or GIF file has more than one page, quickly: Pillow reads all tags of a TIFF."""
    start = file.read(16)
    if start[:2] in (b"II", b"MM"):
        order, is_big = "<" if start[:1] == b"I" else ">", 43 in start[2:4]
        number, entries, size = ("Q", "Q", 20) if is_big else ("I", "H", 12)
        (place,) = unpack_from(order + number, start, 8 if is_big else 4)
        file.seek(place)
        (count,) = unpack(order + entries, file.read(calcsize(entries)))
        file.seek(count * size, io.SEEK_CUR)
        return any(file.read(calcsize(number)))  # the place of the next page, 0 if there is none
    file.seek(0)
    with opened(file) as image:
        return getattr(image, "is_animated", False)


def size_of(file: BinaryIO, page: int | None = None) -> tuple[int, int]:
    """Returns the height and width of the upright image in an opened file, without decoding pixels."""
    if file.read(8) == b"\x89PNG\r\n\x1a\n" and page in (None, 1):
        file = _without_pixels(file)
    file.seek(0)
    with opened(file) as image:
        if page is not None and not seek_page(image, page):
            raise InputError(no_page(image, page))
        width, height = image.size
        turned = ORIENTATION in getattr(image, "tag_v2", {})  # Pillow has turned the size of a TIFF image already
        return (width, height) if orientation(image) > 4 and not turned else (height, width)


def _without_pixels(file: BinaryIO) -> BinaryIO:
    """Returns a PNG file without its pixels: metadata may follow them, and Pillow would decode to find it."""
    file.seek(0)
    parts = [file.read(8)]
    while len(start := file.read(8)) == 8:
        length, kind = unpack(">I4s", start)
        if kind in FRAMES or length > LARGE_CHUNK:
            file.seek(length + 4, io.SEEK_CUR)
        else:
            parts += [start, file.read(length + 4)]
    return io.BytesIO(b"".join(parts))
