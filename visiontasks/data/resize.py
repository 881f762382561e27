"""How an image comes to the size of the batch, and how a box goes back to the image's own pixels."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np

from visiontasks.samples import IGNORE_MASK, InputError, Sample

Resize = Literal["stretch", "letterbox", "crop"]


class Placement(NamedTuple):
    """Where a resized image lies in the square: its height and width, and its top left corner (negative if cut)."""

    height: int
    width: int
    top: int
    left: int


class OnlyResize:
    """What val, test and predict do to a sample: no draw, and a mask stays at its own resolution."""

    def __init__(self, image_size: int, resize: Resize = "stretch") -> None:
        self.image_size, self.resize = image_size, resize

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        mask = {"mask": sample["mask"]} if "mask" in sample else {}
        return {**resize_sample({**sample}, self.image_size, self.resize), **mask}


def place(height: int, width: int, size: int, mode: Resize) -> Placement:
    """Places an image of height and width in a square of `size` pixels.

    Args:
        height: Of the image in pixels.
        width: Of the image in pixels.
        size: Height and width of the square in pixels.
        mode: `stretch` changes the aspect, `letterbox` pads with gray, `crop` cuts the centre square out.
    """
    if mode == "stretch":
        return Placement(size, size, 0, 0)
    scale = size / (max if mode == "letterbox" else min)(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    return Placement(new_height, new_width, (size - new_height) // 2, (size - new_width) // 2)


def resize_sample(sample: Sample, size: int, mode: Resize) -> Sample:
    """Brings the image of a sample to (size, size) pixels, its box and mask with it; see `place`.

    Raises:
        InputError: `crop` cuts the box away.
    """
    height, width = sample["image"].shape[:2]
    if height == width == size:
        return sample
    new = place(height, width, size, mode)
    sample["image"] = _put(sample["image"], new, size, 114, interpolation(height, width, new.height, new.width))
    if "mask" in sample:
        sample["mask"] = _put(sample["mask"], new, size, IGNORE_MASK, cv2.INTER_NEAREST)
    if "bbox" in sample:
        sample["bbox"] = resize_boxes(sample["bbox"], height, width, size, mode)
        if mode == "crop" and (sample["bbox"][2:] <= sample["bbox"][:2]).any():
            raise InputError("`resize: crop` cuts its box away. Use `resize: letterbox` or `stretch`.")
    return sample


def resize_boxes(boxes: np.ndarray, height: int, width: int, size: int, mode: Resize) -> np.ndarray:
    """Carries boxes from the pixels of an image to those of its resized square, float32 (..., 4), xyxy."""
    new = place(height, width, size, mode)
    scale = np.array([new.width / width, new.height / height] * 2)
    return (boxes * scale + [new.left, new.top] * 2).clip(0, size).astype(np.float32)


def original_boxes(boxes: np.ndarray, height: int, width: int, size: int, mode: Resize) -> np.ndarray:
    """Undoes `resize_boxes`: back to the pixels of the image, clipped to it, float32 (..., 4), xyxy."""
    new = place(height, width, size, mode)
    scale = np.array([new.width / width, new.height / height] * 2)
    return ((boxes - [new.left, new.top] * 2) / scale).clip(0, [width, height] * 2).astype(np.float32)


def interpolation(height: int, width: int, new_height: int, new_width: int) -> int:
    """Averaging where an image shrinks to half or less, else bilinear, which is ten times as fast."""
    shrinks = min(height / new_height, width / new_width) >= 2
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def _put(image: np.ndarray, new: Placement, size: int, fill: int, interpolation: int) -> np.ndarray:
    image = cv2.resize(image, (new.width, new.height), interpolation=interpolation)
    top, left = new.top, new.left
    if top >= 0 and left >= 0 and image.shape[:2] != (size, size):
        bottom, right = size - new.height - top, size - new.width - left
        border = [fill] * (3 if image.ndim == 3 else 1)
        return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=border)
    return np.ascontiguousarray(image[max(0, -top) :, max(0, -left) :][:size, :size])
