"""Image decoding to upright uint8 RGB, for training, prediction and every tool."""

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike, fsdecode
from os.path import exists, isfile
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from visiontasks.core.errors import InputError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow reads MPO as JPEG
MAX_PIXELS = 89_478_485  # a quarter of a gigabyte of RGB; Pillow has the same limit, but only warns

# EXIF orientation: function that turns a stored array upright (Exif 2.32, section 4.6.4, tag 274)
_UPRIGHT = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}


def read_image(path: str | PathLike[str]) -> np.ndarray:
    """Reads an image file of any mode.

    Gray, palette, alpha, 1-bit, CMYK and 16-bit images become 8-bit RGB (alpha is dropped, 16-bit gray is scaled). The
    EXIF orientation is applied. An animation gives its first frame. The result is uint8 (H, W, 3), RGB, C-contiguous.

    Raises:
        InputError: The file is missing, empty, truncated, too large or not an image.
    """
    return decode_image(read_bytes(path), shown(path))


def read_size(path: str | PathLike[str]) -> tuple[int, int]:
    """Reads the height and width in pixels of the result of `read_image`, for most formats from the header alone.

    Raises an InputError if the file is missing, too large or not an image.
    """
    data = read_bytes(path, 1 << 18)
    try:
        with opened(data) as image:
            return image.size if image.getexif().get(274, 1) in (5, 6, 7, 8) else image.size[::-1]
    except Exception:  # the header is longer, or the file is broken or too large
        return read_image(path).shape[:2]


def shown(path: str | PathLike[str]) -> str:
    """Returns a path as text that can be printed, whatever bytes its name contains."""
    return fsdecode(path).encode("utf-8", "backslashreplace").decode()


def read_bytes(path: str | PathLike[str], limit: int = -1) -> bytes:
    """Returns the first `limit` bytes of a regular file, by default all; raises an InputError if it cannot be read."""
    try:
        if not isfile(path):  # a pipe or a device could block forever
            raise InputError(f"{shown(path)}: {'not a regular file' if exists(path) else 'no such file'}.")
        with Path(path).open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read ({error.strerror}).") from error


@contextmanager
def opened(data: bytes) -> Generator[Image.Image]:
    """Opens the bytes of an image file with Pillow; an image that is too large is an InputError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size limit is an error here; no other warning concerns the pixels
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size)
            yield image


@contextmanager
def decoding(data: bytes, name: str, what: str = "image") -> Generator[None]:
    """Turns every error of a decoder into an InputError that names the file and says `what` it should be."""
    try:
        if not data:
            raise InputError(f"the file is empty. Remove it or restore the {what}.")
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError ...
        fault = "not an image of a known format" if isinstance(error, Image.UnidentifiedImageError) else error
        raise InputError(f"{name}: broken or truncated {what} ({fault}). Replace the file or remove it.") from error


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """Decodes the bytes of a whole image file, which error messages call `name`; see `read_image`."""
    with decoding(data, name):
        if data.startswith(b"\xff\xd8\xff") and (pixels := _decode_jpeg(data)) is not None:
            return np.ascontiguousarray(pixels)
        with opened(data) as image:
            return np.ascontiguousarray(to_rgb(image))


def to_rgb(image: Image.Image) -> np.ndarray:
    """Converts a Pillow image of any mode to upright uint8 RGB (H, W, 3); see `read_image`."""
    _check_size(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow's own conversion saturates these at 255
        return np.repeat(_to_8_bit(np.asarray(image))[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def _to_8_bit(gray: np.ndarray) -> np.ndarray:
    """Scales 16-bit integers from 0..65535, and floats from 0..1 (0..255 where one exceeds 1)."""
    low, high = float(gray.min()), float(gray.max())
    is_float = gray.dtype.kind == "f"
    limit = (1.0 if high <= 1 else 255.0) if is_float else 65535.0
    if not (low >= 0 and high <= limit):
        allowed = "0..1 or 0..255" if is_float else "0..65535"
        raise InputError(f"pixel values {low:g}..{high:g}, expected {allowed}. Convert the image to 8 bits.")
    return np.rint(gray * (255.0 / limit)).astype(np.uint8)


def _decode_jpeg(data: bytes) -> np.ndarray | None:
    """Decodes RGB and gray fast; returns None for CMYK, which only Pillow can convert."""
    height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    if colorspace not in ("YCbCr", "RGB", "Gray"):
        return None
    _check_size(int(width), int(height))
    image = simplejpeg.decode_jpeg(data, "RGB")
    if b"Exif\0" in data[: 1 << 17]:
        image = _UPRIGHT.get(Image.open(io.BytesIO(data)).getexif().get(274), np.asarray)(image)
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{width}x{height} pixels, more than the limit of {MAX_PIXELS:,}. Scale the image down.")
