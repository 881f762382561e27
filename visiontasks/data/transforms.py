"""Transforms that albumentations lacks, or has at several times the cost."""

from __future__ import annotations

import math
from typing import Any

import albumentations as A
import cv2
import numpy as np

from visiontasks.data.resize import interpolation

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
RGB_TO_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])  # NTSC
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
# the parts of a colour: its gray, its chroma, and its chroma turned by a quarter
GRAY, CHROMA, TURNED = (
    YIQ_TO_RGB @ np.array(part) @ RGB_TO_YIQ
    for part in (
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
    )
)


class ColorJitter(A.ImageOnlyTransform):
    """Random brightness, contrast, saturation and hue as one affine map of the colours.

    One pass over the pixels instead of one for each change, at a tenth of the time of
    albumentations' transform of the same name. Image: uint8 (H, W, 3).

    Args:
        brightness: Factor drawn from 1 - value .. 1 + value.
        contrast: The same, about the middle gray.
        saturation: The same, about the pixel's own gray.
        hue: Share of a full turn of the hue, drawn from -value .. value.
        p: Probability of the transform.
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.02,
        p: float = 0.5,
        strict: bool = True,
    ) -> None:
        super().__init__(p=p)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def get_params(self) -> dict[str, Any]:
        draw = self.py_random.uniform
        ranges = (self.brightness, self.contrast, self.saturation)
        brightness, contrast, saturation = (draw(max(0, 1 - value), 1 + value) for value in ranges)
        angle = 2 * math.pi * draw(-self.hue, self.hue)
        matrix = np.empty((3, 4))
        matrix[:, :3] = GRAY + saturation * (math.cos(angle) * CHROMA + math.sin(angle) * TURNED)
        matrix[:, :3] *= brightness * contrast
        matrix[:, 3] = brightness * 127.5 * (1 - contrast)
        return {"matrix": matrix}

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        return cv2.transform(img, matrix)


class ObjectCrop(A.RandomResizedCrop):
    """Random crop of random aspect, resized; drawn again while it would cut the object's box.

    Without a box it is a plain random resized crop (Szegedy et al. 2014, section 6). With one, at
    least `keep` of the box's area stays inside; after 20 draws the whole image is taken.

    Args:
        size: Height and width of the result in pixels.
        scale: Least and largest area of the crop, as a share of the image's.
        ratio: Least and largest width / height of the crop.
        keep: Share of the box's area that must stay, 0..1.
        p: Probability of the transform.
    """

    def __init__(
        self,
        size: tuple[int, int],
        scale: tuple[float, float] = (0.35, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        keep: float = 0.8,
        p: float = 1.0,
        strict: bool = True,
    ) -> None:
        super().__init__(size=size, scale=scale, ratio=ratio, p=p)
        self.keep = keep

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        boxes = data.get("bboxes")
        if boxes is None or not len(boxes):
            return super().get_params_dependent_on_data(params, data)
        height, width = params["shape"][:2]
        box = np.asarray(boxes[0][:4]) * [width, height, width, height]  # albumentations keeps boxes as shares inside
        for _ in range(20):
            drawn = super().get_params_dependent_on_data(params, data)
            x1, y1, x2, y2 = drawn["crop_coords"]
            inside = max(0, min(x2, box[2]) - max(x1, box[0])) * max(0, min(y2, box[3]) - max(y1, box[1]))
            if inside >= self.keep * (box[2] - box[0]) * (box[3] - box[1]):
                return drawn
        return {"crop_coords": (0, 0, width, height)}

    def apply(self, img: np.ndarray, crop_coords: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        x1, y1, x2, y2 = crop_coords
        height, width = self.size
        return cv2.resize(
            img[y1:y2, x1:x2], (width, height), interpolation=interpolation(y2 - y1, x2 - x1, height, width)
        )


class ObjectAffine(A.Affine):
    """Random rotation, shear, scale and shift; drawn again while a corner of the object's box would leave the frame.

    A box around what is left of a clipped box would not fit what is left of the object. Without a box it is
    albumentations' Affine, whose arguments it takes; after 20 draws nothing is moved.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        drawn = super().get_params_dependent_on_data(params, data)
        boxes = data.get("bboxes")
        if boxes is None or not len(boxes):
            return drawn
        height, width = params["shape"][:2]
        x1, y1, x2, y2 = np.asarray(boxes[0][:4]) * [width, height, width, height]
        corners = np.array([[x1, y1, 1], [x2, y1, 1], [x2, y2, 1], [x1, y2, 1]])
        for _ in range(20):
            moved = (corners @ drawn["bbox_matrix"].T)[:, :2]
            if (moved > -0.01).all() and (moved < np.array([width, height]) + 0.01).all():
                return drawn
            drawn = super().get_params_dependent_on_data(params, data)
        return {**drawn, "matrix": np.eye(3), "bbox_matrix": np.eye(3)}


class Occlude(A.CoarseDropout):
    """albumentations' CoarseDropout without its change of the box: what is hidden is still there."""

    def apply_to_bboxes(self, bboxes: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        return bboxes
