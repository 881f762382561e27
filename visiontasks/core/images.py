"""Decoding of image files to upright uint8 RGB, for training, prediction and every tool."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike, fsdecode
from os.path import exists, isfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from PIL import Image

from visiontasks.core.depth import GrayRange, check_color, gray_to_8_bit, is_deep
from visiontasks.core.errors import InputError
from visiontasks.core.headers import check_size, choose_page, load_page, opened, orientation, size_of, upright

EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"),
    *(".jfif", ".jpe", ".mpo", ".pbm", ".pgm", ".pnm", ".ppm"),
)
PAGE = (255, 255, 255)  # color behind transparent pixels


def read_image(path: str | PathLike[str], gray_range: GrayRange | None = None, page: int | None = None) -> np.ndarray:
    """Reads an image file of any mode.

    Gray, palette, 1-bit, CMYK and 16-bit images become 8-bit RGB. Transparent pixels show white behind them, as on a
    page. The orientation of EXIF, or else of XMP, is applied. The result is uint8 (H, W, 3), RGB, C-contiguous.

    Args:
        path: The file.
        gray_range: Values that become black and white in gray images of more than 8 bits; see `gray_to_8_bit`.
        page: Page or frame of a file that has several, from 1 on; by default the first, and the log says so once.

    Raises:
        InputError: The file is missing, empty, truncated, too large or not an image, or lacks the page.
    """
    return decode_image(read_bytes(path), shown(path), gray_range, page)


def reading(spec: dict[str, Any]) -> tuple[GrayRange | None, int | None]:
    """Returns how a spec says that image files are read: `gray_range` and `page` of `read_image`."""
    return spec.get("gray_range"), spec.get("page")


def read_size(path: str | PathLike[str], page: int | None = None) -> tuple[int, int]:
    """Reads the height and width in pixels of the result of `read_image`, from the header alone.

    Raises an InputError if the file is missing, too large or not an image, or lacks the page.
    """
    try:
        with opened_file(path) as file:
            return size_of(file, page)
    except Exception:  # the file is broken, or is read in another way
        return read_image(path, page=page).shape[:2]


def shown(path: str | PathLike[str]) -> str:
    """Returns a path as text that can be printed, whatever bytes its name contains."""
    return fsdecode(path).encode("utf-8", "backslashreplace").decode()


@contextmanager
def opened_file(path: str | PathLike[str]) -> Generator[BinaryIO]:
    """Opens a regular file; raises an InputError if it cannot be read."""
    try:
        if not isfile(path):  # a pipe or a device could block forever
            raise InputError(f"{shown(path)}: {'not a regular file' if exists(path) else 'no such file'}.")
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read ({error.strerror}).") from error


def read_bytes(path: str | PathLike[str], limit: int = -1) -> bytes:
    """Returns the first `limit` bytes of a regular file, by default all; raises an InputError if it cannot be read."""
    with opened_file(path) as file:
        return file.read(limit)


@contextmanager
def decoding(name: str, what: str = "image") -> Generator[None]:
    """Turns every error of a decoder into an InputError that names the file and says `what` it should be."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError ...
        fault = "not an image of a known format" if isinstance(error, Image.UnidentifiedImageError) else error
        raise InputError(f"{name}: broken or truncated {what} ({fault}). Replace the file or remove it.") from error


def decode_image(
    data: bytes, name: str = "image", gray_range: GrayRange | None = None, page: int | None = None, least: int = 0
) -> np.ndarray:
    """Decodes the bytes of a whole image file, which messages call `name`; see `read_image`.

    With `least`, a JPEG file is decoded faster at a fraction of its size; both sides keep at least `least` pixels.
    """
    with decoding(name):
        if page in (None, 1) and data.startswith(b"\xff\xd8\xff") and (pixels := _decode_jpeg(data, least)) is not None:
            return pixels
        with opened(io.BytesIO(data)) as image:
            choose_page(image, name, page)
            return to_rgb(image, gray_range)


def to_rgb(image: Image.Image, gray_range: GrayRange | None = None) -> np.ndarray:
    """Converts a Pillow image of any mode, at the page it is at, to upright uint8 RGB (H, W, 3); see `read_image`."""
    check_size(*image.size)
    deep = is_deep(image)
    stored = load_page(image)
    if deep:
        check_color(image)
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow's own conversion saturates these at 255
        pixels = np.repeat(gray_to_8_bit(image, gray_range)[..., None], 3, axis=2)
        if "transparency" in image.info:
            pixels[np.asarray(image) == image.info["transparency"]] = PAGE
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() == (0, 0) and (np.asarray(image) != np.asarray(image)[0, 0]).any():
            raise InputError("every pixel is transparent, and the colors below differ. Export it without alpha.")
        page = Image.new("RGB", image.size, PAGE)
        page.paste(image, mask=image)
        pixels = np.asarray(page)
    else:
        pixels = np.asarray(image.convert("RGB"))
    return upright(pixels, stored)


def _decode_jpeg(data: bytes, least: int = 0) -> np.ndarray | None:
    """Decodes RGB and gray fast; returns None for CMYK, which only Pillow can convert."""
    height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    if colorspace not in ("YCbCr", "RGB", "Gray"):
        return None
    check_size(int(width), int(height))
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least, min_factor=1)
    if b"Exif\0" in data or b"tiff:Orientation" in data:
        with opened(io.BytesIO(data)) as header:
            return upright(pixels, orientation(header))
    return pixels
