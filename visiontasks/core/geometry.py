"""Placement of an image in the picture that a network sees, and the arithmetic of boxes."""

from typing import Any, Literal, NamedTuple

import numpy as np

Resize = Literal["stretch", "letterbox", "crop"]
Size = int | tuple[int, int]  # side of a square, or height and width
Corners = tuple[int, int, int, int]  # xyxy in pixels
MAX_PIXELS = 89_478_485  # a quarter of a gigabyte of RGB; Pillow has the same limit, but only warns


class Placement(NamedTuple):
    """Height, width and top left corner of a resized image in the picture, in pixels; a cut corner is negative."""

    height: int
    width: int
    top: int
    left: int


def height_width(size: Size) -> tuple[int, int]:
    """Returns the height and width of a size; a single number is the side of a square."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def is_picture(size: Any) -> bool:
    """Returns whether any value is the size of a picture: positive integers, not more pixels than an image may have."""
    sides = [size, size] if type(size) is int else size
    is_pair = isinstance(sides, list | tuple) and len(sides) == 2 and all(type(side) is int for side in sides)
    return is_pair and min(sides) > 0 and sides[0] * sides[1] <= MAX_PIXELS


def fit_into(height: int, width: int, size: Size, mode: Resize) -> Placement:
    """Fits an image of a height and width into a picture of a size, all in pixels.

    The mode `stretch` changes the aspect ratio, `letterbox` pads with gray, `crop` cuts out the center.
    """
    whole = height_width(size)
    if mode == "stretch":
        return Placement(*whole, 0, 0)
    scale = (min if mode == "letterbox" else max)(whole[0] / height, whole[1] / width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    return Placement(new_height, new_width, (whole[0] - new_height) // 2, (whole[1] - new_width) // 2)


class Frame(NamedTuple):
    """Height and width of an image, the size of its picture, both in pixels, and the resize mode between them."""

    height: int
    width: int
    size: Size
    mode: Resize = "stretch"

    @property
    def placement(self) -> Placement:
        """The placement of the image in the picture."""
        return fit_into(*self)

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """Moves boxes xyxy (..., 4) from pixels of the image to pixels of the picture, clipped to it: float32."""
        scale, offset = self._scale_and_offset()
        return (boxes * scale + offset).clip(0, height_width(self.size)[::-1] * 2).astype(np.float32)

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Moves boxes xyxy (..., 4) from pixels of the picture to pixels of the image, clipped to it: float32."""
        scale, offset = self._scale_and_offset()
        return ((boxes - offset) / scale).clip(0, [self.width, self.height] * 2).astype(np.float32)

    def _scale_and_offset(self) -> tuple[np.ndarray, list[int]]:
        new = self.placement
        return np.array([new.width / self.width, new.height / self.height] * 2), [new.left, new.top] * 2


def crop_parts(window: Corners, height: int, width: int, size: Size) -> tuple[Corners, Corners]:
    """Returns the part of an image in a window that overlaps with it, and its place in a picture of the whole window.

    Both are whole pixels; the window may be partly outside the image.
    """
    (x1, y1, x2, y2), (tall, wide) = window, height_width(size)
    part = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
    scale_x, scale_y = wide / (x2 - x1), tall / (y2 - y1)
    left, right = (round((x - x1) * scale_x) for x in part[::2])
    top, bottom = (round((y - y1) * scale_y) for y in part[1::2])
    left, top = min(left, wide - 1), min(top, tall - 1)  # a thin image keeps one pixel
    return part, (left, top, max(left + 1, right), max(top + 1, bottom))


def corners(size: Size) -> np.ndarray:
    """Returns width, height, width, height of a picture, float32 (4,), the factors of relative boxes."""
    return np.array(height_width(size)[::-1] * 2, np.float32)


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Computes the IoU of each pair of boxes xyxy (..., 4): float (...); 0 for boxes without area, NaN for NaN."""
    low, high = np.maximum(boxes[..., :2], others[..., :2]), np.minimum(boxes[..., 2:], others[..., 2:])
    inside = (high - low).clip(0).prod(-1)
    areas = [(part[..., 2:] - part[..., :2]).prod(-1) for part in (boxes, others)]
    return inside / np.maximum(areas[0] + areas[1] - inside, np.finfo(np.float32).tiny)
