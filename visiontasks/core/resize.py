"""Resizing of images and masks to the picture that a network sees."""

from typing import Any

import cv2
import numpy as np

from visiontasks.core.geometry import Corners, Frame, Size, crop_parts, height_width
from visiontasks.core.sample import FILL, IGNORE_MASK

MOST = 16  # an enlarged image has at most this number of times the pixels of the image and of the picture


def resize_image(image: np.ndarray, frame: Frame) -> np.ndarray:
    """Resizes an image, uint8 (H, W, 3), to its picture."""
    return _put(image, frame, FILL, interpolation(frame.height, frame.width, *frame.placement[:2]))


def resize_mask(mask: np.ndarray, frame: Frame) -> np.ndarray:
    """Resizes a mask of classes, uint8 (H, W), to the picture; pixels outside the image become 255."""
    return _put(mask, frame, IGNORE_MASK, cv2.INTER_NEAREST_EXACT)


def crop_image(image: np.ndarray, window: Corners, size: Size) -> np.ndarray:
    """Resizes a window of an image, uint8 (H, W, 3), to a size; outside the image it is gray."""
    x1, y1, x2, y2 = window
    return _crop(image, window, size, FILL, interpolation(y2 - y1, x2 - x1, *height_width(size)))


def crop_mask(mask: np.ndarray, window: Corners, size: Size) -> np.ndarray:
    """Resizes a window of a mask of classes, uint8 (H, W), to a size; outside the mask it becomes 255."""
    return _crop(mask, window, size, IGNORE_MASK, cv2.INTER_NEAREST_EXACT)


def interpolation(height: int, width: int, new_height: int, new_width: int) -> int:
    """Returns OpenCV's flag: area if an image shrinks to half or less, else bilinear, which is ten times as fast."""
    shrinks = min(height / new_height, width / new_width) >= 2
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def _put(image: np.ndarray, frame: Frame, fill: int, interpolation: int) -> np.ndarray:
    height, width = height_width(frame.size)
    if image.shape[:2] == (height, width):
        return image
    new_height, new_width, top, left = frame.placement
    if new_height * new_width > MOST * max(height * width, frame.height * frame.width):
        return _part(image, frame, cv2.INTER_LINEAR if interpolation == cv2.INTER_LINEAR else cv2.INTER_NEAREST)
    image = cv2.resize(image, (new_width, new_height), interpolation=interpolation)
    if top >= 0 and left >= 0 and image.shape[:2] != (height, width):
        border = (top, height - new_height - top, left, width - new_width - left)
        return cv2.copyMakeBorder(image, *border, cv2.BORDER_CONSTANT, value=[fill] * 3)
    return np.ascontiguousarray(image[max(0, -top) :, max(0, -left) :][:height, :width])


def _crop(image: np.ndarray, window: Corners, size: Size, fill: int, interpolation: int) -> np.ndarray:
    height, width = height_width(size)
    (x1, y1, x2, y2), (left, top, right, bottom) = crop_parts(window, *image.shape[:2], size)
    if x1 >= x2 or y1 >= y2:
        return np.full((height, width, *image.shape[2:]), fill, np.uint8)
    part = cv2.resize(image[y1:y2, x1:x2], (right - left, bottom - top), interpolation=interpolation)
    border = (top, height - bottom, left, width - right)
    return cv2.copyMakeBorder(part, *border, cv2.BORDER_CONSTANT, value=[fill] * 3) if any(border) else part


def _part(image: np.ndarray, frame: Frame, interpolation: int) -> np.ndarray:
    """Cuts out what the picture shows of a long and thin image, and enlarges only that."""
    new, ends, parts, places = frame.placement, height_width(frame.size), [], []
    for length, new_length, start, end in zip((frame.height, frame.width), new[:2], new[2:], ends, strict=True):
        place = ((np.arange(end) - start + 0.5) * (length / new_length) - 0.5).clip(0, length - 1)
        first = int(place[0])
        parts.append(slice(first, int(place[-1]) + 2))
        places.append((place - first).astype(np.float32))
    columns, rows = np.meshgrid(places[1], places[0])
    return cv2.remap(np.ascontiguousarray(image[tuple(parts)]), columns, rows, interpolation)


def to_picture(image: np.ndarray, spec: dict[str, Any]) -> np.ndarray:
    """Resizes an image, uint8 (H, W, 3), as in validation, test and prediction: uint8 (h, w, 3), C-contiguous.

    `spec` has the `image_size` and `resize` of a model. Its optional `crop_share` is the share of the height and width
    of a larger picture whose center is cut out, as in the evaluation of most pretrained networks.
    """
    height, width = height_width(spec["image_size"])
    share = spec.get("crop_share", 1.0)
    whole = int(height / share), int(width / share)
    picture = resize_image(image, Frame(*image.shape[:2], whole, spec["resize"]))
    top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
