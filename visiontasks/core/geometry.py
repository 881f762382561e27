"""Where an image lies in the picture that a network sees, and how answers go back to the image's own pixels."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Resize = Literal["stretch", "letterbox", "crop"]
Size = int | tuple[int, int]  # of a square, or height and width


class Placement(NamedTuple):
    """Where a resized image lies in the picture: its height and width, and its top left corner (negative if cut)."""

    height: int
    width: int
    top: int
    left: int


def height_width(size: Size) -> tuple[int, int]:
    """Height and width of a size, of which a square has one number."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def place(height: int, width: int, size: Size, mode: Resize) -> Placement:
    """Places an image of height and width in a picture of a size, all in pixels.

    Args:
        height: Of the image.
        width: Of the image.
        size: Of the picture.
        mode: `stretch` changes the aspect, `letterbox` pads with gray, `crop` cuts the centre out.
    """
    whole = height_width(size)
    if mode == "stretch":
        return Placement(*whole, 0, 0)
    scale = (min if mode == "letterbox" else max)(whole[0] / height, whole[1] / width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    return Placement(new_height, new_width, (whole[0] - new_height) // 2, (whole[1] - new_width) // 2)


def resize_boxes(boxes: np.ndarray, height: int, width: int, size: Size, mode: Resize) -> np.ndarray:
    """Carries boxes from the pixels of an image to those of its picture, float32 (..., 4), xyxy."""
    new = place(height, width, size, mode)
    scale = np.array([new.width / width, new.height / height] * 2)
    return (boxes * scale + [new.left, new.top] * 2).clip(0, height_width(size)[::-1] * 2).astype(np.float32)


def original_boxes(boxes: np.ndarray, height: int, width: int, size: Size, mode: Resize) -> np.ndarray:
    """Undoes `resize_boxes`: back to the pixels of the image, clipped to it, float32 (..., 4), xyxy."""
    new = place(height, width, size, mode)
    scale = np.array([new.width / width, new.height / height] * 2)
    return ((boxes - [new.left, new.top] * 2) / scale).clip(0, [width, height] * 2).astype(np.float32)
