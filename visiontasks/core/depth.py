"""Images of more than 8 bits."""

import math
from typing import Any

import numpy as np
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.core.headers import layouts

GrayRange = tuple[float, float]  # the values that become black and white

FEWER_BITS = "so the image has fewer bits, or it is almost black"
FULL = 65535.0  # the largest value of 16 bits
LEAST = 4096  # a brighter pixel is not black in 8 bits, and not one of 12 bits
MAXIMA = (281, 341)  # tags of TIFF: MaxSampleValue, SMaxSampleValue
DEPTHS = tuple(2.0**bits - 1 for bits in range(8, 17))  # the largest values of 8 to 16 bits


def is_gray_range(value: Any) -> bool:
    """Returns whether a value is None or two finite numbers in ascending order."""
    pair = [number for number in value if isinstance(number, int | float)] if isinstance(value, list | tuple) else []
    return value is None or (len(value) == len(pair) == 2 and -math.inf < pair[0] < pair[1] < math.inf)


def is_deep(image: Image.Image) -> bool:
    """Returns whether a file that is opened, but not decoded, has 16 bits per value; of colors Pillow keeps 8."""
    return any(";16" in str(stored[0]) for stored in layouts(image))


def check_color(image: Image.Image) -> None:
    """Checks a decoded image of 16 bits per value for colors that are all black because they have fewer bits.

    Raises:
        InputError: All values are below 4096, but not all below 256.
    """
    bands = [band for band in image.getbands() if band in "LRGB"]
    high = max((int(np.asarray(image.getchannel(band)).max()) for band in bands), default=0)
    if bands and 0 < high < LEAST >> 8:
        fault = f"16-bit colors end at {high << 8 | 255}, {FEWER_BITS}"
        raise InputError(f"{fault}. Convert it to 8 bits.")


def gray_to_8_bit(image: Image.Image, gray_range: GrayRange | None = None) -> np.ndarray:
    """Scales the values of a decoded gray image of 16-bit or 32-bit integers or floats to 0..255: uint8 (H, W).

    By default integers are 0..65535, unless a TIFF file declares the largest value of fewer bits as its maximum, and
    floats are 0..1, or 0..255 where one exceeds 1. The values of one image alone never decide about its brightness.

    Args:
        image: Decoded image of mode I, I;16 or F.
        gray_range: Values that become black and white; other values are clipped.

    Raises:
        InputError: A value is not finite or, without `gray_range`, outside the range; or all values of an image of 16
            bits are below 4096: it would be black, and has probably 12 bits.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise InputError(f"pixel values {low:g}..{high:g} are not finite. Correct the image.")
    black, white = gray_range or (0.0, _white(image, low, high))
    if not (gray_range or (low >= black and high <= white)):
        known = "0..1 or 0..255" if values.dtype.kind == "f" else f"0..{white:g}"
        raise InputError(f"pixel values {low:g}..{high:g}, expected {known}. {_advice(low, high)}")
    scaled = values.astype(np.float32)
    scaled -= black
    scaled *= 255 / (white - black)
    return np.rint(scaled, out=scaled).clip(0, 255, out=scaled).astype(np.uint8)


def _white(image: Image.Image, low: float, high: float) -> float:
    """Returns the value of white that the file declares, or else that of its type."""
    tags = getattr(image, "tag_v2", {})
    declared = [float(np.max(tags[tag])) for tag in MAXIMA if tag in tags]  # many writers put the largest value there
    if image.mode == "F":
        return next((value for value in declared if value in (1.0, 255.0)), 1.0 if high <= 1 else 255.0)
    if found := next((value for value in declared if value in DEPTHS), None):
        return found
    if low >= 0 and 0 < high < LEAST and image.format != "PPM":  # Pillow scales those by the maximum in their header
        fault = f"16-bit pixel values end at {high:g}, {FEWER_BITS}"
        raise InputError(f"{fault}. {_advice(low, high)}")
    return FULL


def _advice(low: float, high: float) -> str:
    white = next((depth for depth in DEPTHS if depth >= max(high, LEAST - 1)), high)
    known = f"[{min(low, 0):g}, {white:.0f}]"
    return f"Set `data.gray_range` to the range of all images, for example {known}, or convert them to 8 bits."
