"""How an image comes to the size of the batch."""

from __future__ import annotations

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Placement, Resize, Size, height_width, place, resize_boxes
from visiontasks.core.sample import IGNORE_MASK, Sample


class OnlyResize:
    """What val, test and predict do to a sample: no draw, and a mask is kept at its own resolution too.

    Args:
        image_size: Size of the picture in pixels.
        resize: How an image comes to it.
        crop_share: If less than 1, the picture is the centre of a larger one, as most pretrained networks are
            evaluated: this share of its height and width. For images without box and mask.
    """

    def __init__(self, image_size: Size, resize: Resize = "stretch", crop_share: float = 1.0) -> None:
        self.image_size, self.resize = image_size, resize
        height, width = height_width(image_size)
        self.whole = int(height / crop_share), int(width / crop_share)

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        known = {"original_mask": sample["mask"]} if "mask" in sample else {}
        sample = resize_sample({**sample}, self.whole, self.resize)
        height, width = height_width(self.image_size)
        if (height, width) != self.whole:
            top, left = (self.whole[0] - height) // 2, (self.whole[1] - width) // 2
            sample["image"] = np.ascontiguousarray(sample["image"][top : top + height, left : left + width])
        return {**sample, **known}


def resize_sample(sample: Sample, size: Size, mode: Resize) -> Sample:
    """Brings the image of a sample to a size in pixels, its box and mask with it; see `place`.

    Raises:
        InputError: `crop` cuts the box away.
    """
    height, width = sample["image"].shape[:2]
    whole = height_width(size)
    if (height, width) == whole:
        return sample
    new = place(height, width, size, mode)
    sample["image"] = _put(sample["image"], new, whole, 114, interpolation(height, width, new.height, new.width))
    if "mask" in sample:
        sample["mask"] = _put(sample["mask"], new, whole, IGNORE_MASK, cv2.INTER_NEAREST_EXACT)
    if "bbox" in sample:
        sample["bbox"] = resize_boxes(sample["bbox"], height, width, size, mode)
        if mode == "crop" and (sample["bbox"][2:] <= sample["bbox"][:2]).any():
            raise InputError("`resize: crop` cuts its box away. Use `resize: letterbox` or `stretch`.")
    return sample


def interpolation(height: int, width: int, new_height: int, new_width: int) -> int:
    """Averaging where an image shrinks to half or less, else bilinear, which is ten times as fast."""
    shrinks = min(height / new_height, width / new_width) >= 2
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def _put(image: np.ndarray, new: Placement, whole: tuple[int, int], fill: int, interpolation: int) -> np.ndarray:
    image = cv2.resize(image, (new.width, new.height), interpolation=interpolation)
    top, left = new.top, new.left
    if top >= 0 and left >= 0 and image.shape[:2] != whole:
        bottom, right = whole[0] - new.height - top, whole[1] - new.width - left
        border = [fill] * (3 if image.ndim == 3 else 1)
        return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=border)
    return np.ascontiguousarray(image[max(0, -top) :, max(0, -left) :][: whole[0], : whole[1]])
