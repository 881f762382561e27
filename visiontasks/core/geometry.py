"""Where an image lies in the picture that a network sees, and the arithmetic of boxes."""

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
    """Returns the height and width of a size; a single number is a square."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def fit_into(height: int, width: int, size: Size, mode: Resize) -> Placement:
    """Fits an image of height and width into a picture of a size, all in pixels.

    Args:
        height: Height of the image.
        width: Width of the image.
        size: Size of the picture.
        mode: `stretch` changes the aspect, `letterbox` pads with gray, `crop` cuts out the center.
    """
    whole = height_width(size)
    if mode == "stretch":
        return Placement(*whole, 0, 0)
    scale = (min if mode == "letterbox" else max)(whole[0] / height, whole[1] / width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    return Placement(new_height, new_width, (whole[0] - new_height) // 2, (whole[1] - new_width) // 2)


class Frame(NamedTuple):
    """An image of `height` and `width` and its picture of `size`, in pixels, and how one becomes the other."""

    height: int
    width: int
    size: Size
    mode: Resize = "stretch"

    @property
    def placement(self) -> Placement:
        """Where the image lies in the picture."""
        return fit_into(*self)

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """Moves boxes xyxy (..., 4) from pixels of the image to pixels of the picture, clipped to it: float32."""
        new = self.placement
        scale = np.array([new.width / self.width, new.height / self.height] * 2)
        limits = height_width(self.size)[::-1] * 2
        return (boxes * scale + [new.left, new.top] * 2).clip(0, limits).astype(np.float32)

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Moves boxes xyxy (..., 4) from pixels of the picture to pixels of the image, clipped to it: float32."""
        new = self.placement
        scale = np.array([new.width / self.width, new.height / self.height] * 2)
        return ((boxes - [new.left, new.top] * 2) / scale).clip(0, [self.width, self.height] * 2).astype(np.float32)


def corners(size: Size) -> np.ndarray:
    """Width, height, width and height of a picture, float32 (4,): what relative boxes are multiplied by."""
    return np.array(height_width(size)[::-1] * 2, np.float32)


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair of boxes xyxy (..., 4): float (...); 0 of boxes without area, NaN of NaN."""
    low, high = np.maximum(boxes[..., :2], others[..., :2]), np.minimum(boxes[..., 2:], others[..., 2:])
    inside = (high - low).clip(0).prod(-1)
    areas = [(part[..., 2:] - part[..., :2]).prod(-1) for part in (boxes, others)]
    return inside / np.maximum(areas[0] + areas[1] - inside, np.finfo(np.float32).tiny)
