"""What a check has to know about one image, gathered in one pass."""

import io
from hashlib import blake2b
from os import PathLike
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from visiontasks.core.depth import FEWER_BITS, GrayRange, is_deep
from visiontasks.core.errors import InputError
from visiontasks.core.headers import choose_page, opened, orientation
from visiontasks.core.images import decode_image, decoding, read_bytes, shown

SIDE = 32  # of a thumbnail, in pixels
LEAST = 2 * SIDE  # shorter side of what is decoded


class Header(NamedTuple):
    """How a file is stored: Pillow's names of its format and mode, its orientation 1..8, and three oddities."""

    format: str = ""
    mode: str = "RGB"
    stored: int = 1
    pages: bool = False
    alpha: bool = False
    deep: bool = False
    height: int = 0
    width: int = 0


class Look(NamedTuple):
    """One image.

    Attributes:
        thumbnail: The image, upright, without its aspect: uint8 (32, 32, 3).
        spread: Largest difference of two pixels of the (reduced) image in one channel, 0..255.
        filled: Share of the rows at the bottom that are one gray, as where a file is damaged, 0..1.
        digest: Hash of the bytes of the file, or of the pixels.
        header: How the file is stored.
        error: Why the image cannot be read; empty if it can.
        highest: The largest value of a gray image of 16 bits; 0 of others.
    """

    thumbnail: np.ndarray
    spread: int
    filled: float
    digest: bytes
    header: Header
    error: str = ""
    highest: int = 0

    @property
    def is_dim(self) -> bool:
        """Whether the file is in order, but its image of 16 bits has so small values that a training stops."""
        return self.header.deep and FEWER_BITS in self.error


def look_at_file(path: str | PathLike[str], gray_range: GrayRange | None, page: int | None) -> Look:
    """Reads an image file."""
    header, digest, highest = Header(), b"", 0
    try:
        data = read_bytes(path)
        digest = blake2b(data, digest_size=16).digest()
        header = read_header(data)
        highest = _highest(data, page) if header.deep else 0
        found = look_at_pixels(decode_image(data, shown(path), gray_range, page, LEAST), header, digest)
    except InputError as error:
        found = unreadable(str(error), header, digest)
    return found._replace(highest=highest)


def look_at_pixels(pixels: np.ndarray, header: Header | None = None, digest: bytes = b"") -> Look:
    """Sums up the pixels of an image, uint8 (H, W, 3)."""
    digest = digest or blake2b(pixels.tobytes(), digest_size=16).digest()
    header = header or Header(height=pixels.shape[0], width=pixels.shape[1])
    thumbnail = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    flat = pixels.reshape(-1, 3)
    spread = int((flat.max(0).astype(int) - flat.min(0)).max())
    return Look(thumbnail, spread, _filled(pixels), digest, header)


def unreadable(error: str, header: Header | None = None, digest: bytes = b"") -> Look:
    """Returns what is known of an image that cannot be read."""
    return Look(np.zeros((SIDE, SIDE, 3), np.uint8), 0, 0.0, digest, header or Header(), error)


def read_header(data: bytes) -> Header:
    """Reads how a file is stored; raises an InputError if it is not an image."""
    try:
        with opened(io.BytesIO(data)) as image:
            plain = image.format == "PNG" and b"eXIf" not in data  # Pillow would decode it to look for a turn
            turned = 1 if plain else orientation(image)
            pages = image.format != "MPO" and getattr(image, "is_animated", False)
            alpha = image.has_transparency_data
            size = image.size[::-1]
            return Header(image.format or "", image.mode, turned, pages, alpha, is_deep(image), *size)
    except Image.UnidentifiedImageError as error:
        raise InputError("not an image of a known format. Replace the file or remove it.") from error


def _highest(data: bytes, page: int | None) -> int:
    """Returns the largest value of a gray 16-bit image; 0 for a color image, which is read with 8 bits."""
    with decoding("image"), opened(io.BytesIO(data)) as image:
        choose_page(image, "image", page)
        return int(np.asarray(image).max()) if image.mode.startswith("I") else 0


def _filled(pixels: np.ndarray) -> float:
    """Returns the share of rows at the bottom that are the gray with which decoders fill what is missing."""
    gray = (abs(pixels.astype(np.int16) - 128) <= 1).all((1, 2))
    return float(np.argmin(gray[::-1]) / len(gray)) if not gray.all() else 1.0
