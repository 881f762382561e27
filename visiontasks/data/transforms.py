"""Transforms that albumentations lacks or computes several times slower."""

import math
from typing import Any

import albumentations as A
import cv2
import numpy as np

from visiontasks.core.geometry import Corners, Resize, Size, crop_parts, fit_into
from visiontasks.core.resize import crop_image, crop_mask

RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])  # NTSC
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
# projections of a color on its gray, on its chroma, and on its chroma turned by a quarter
GRAY, CHROMA = (YIQ_TO_RGB @ np.diag(part) @ RGB_TO_YIQ for part in ([1, 0, 0], [0, 1, 1]))
TURNED = YIQ_TO_RGB @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ RGB_TO_YIQ


class ColorJitter(A.ImageOnlyTransform):
    """Random brightness, contrast, saturation and hue as one affine map of the colors.

    One pass over the pixels makes all changes, in a tenth of the time of albumentations' transform of the same name.
    Image: uint8 (H, W, 3).

    Args:
        brightness: The factor is drawn from 1 - value .. 1 + value.
        contrast: The same, around middle gray.
        saturation: The same, around the gray of the pixel.
        hue: The share of a full turn of the hue is drawn from -value .. value.
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
        colors = brightness * contrast * (GRAY + saturation * (math.cos(angle) * CHROMA + math.sin(angle) * TURNED))
        return {"matrix": np.insert(colors, 3, brightness * 127.5 * (1 - contrast), axis=1)}

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        return cv2.transform(img, matrix)


def clip_boxes(boxes: np.ndarray, shape: Any = None) -> np.ndarray:
    """Clips boxes after a transform, and multiplies their last column, the visible share, by the share that is left.

    It replaces a filter of albumentations, which compares with the area before the last transform alone.

    Args:
        boxes: Float (N, 6): xyxy in 0..1, any number, the share that was left before.
        shape: Not used: height and width.
    """
    if not len(boxes):
        return boxes
    inside = boxes[:, :4].clip(0, 1)
    before, left = ((part[:, 2:4] - part[:, :2]).clip(0).prod(1) for part in (boxes, inside))
    share = np.divide(left, before, out=np.zeros_like(left), where=before > 0)
    return np.column_stack([inside, boxes[:, 4], boxes[:, 5] * share])[share > 0]


def _only_box(params: dict[str, Any], data: dict[str, Any]) -> np.ndarray | None:
    """Returns the box of a sample with one, xyxy in pixels; albumentations keeps boxes as shares of the image.

    The rows of a sample with any number of objects are longer; some of these may be lost.
    """
    boxes, (height, width) = data.get("bboxes"), params["shape"][:2]
    if boxes is None or not len(boxes) or len(boxes[0]) > 4:
        return None
    return np.asarray(boxes[0]) * [width, height, width, height]


class ObjectCrop(A.RandomResizedCrop):
    """Random resized crop of random aspect that keeps the object's box; windows that cut the box are drawn again.

    With a label alone it is a plain random resized crop (Szegedy et al. 2014, section 6). For a box or a mask, size and
    aspect matter: crops alone would show every object larger than in a whole image. So the window is drawn around the
    one that val and test use, as often larger as smaller and by the same factor (Liu et al. 2016, SSD, section 3.6),
    with gray outside the image. At least `keep` of a box's area stays inside; after 20 draws the whole image is used.

    Args:
        size: Height and width of the result in pixels.
        scale: Smallest and largest area of the window as a share of the image; with a box or a mask, as a share of the
            window that keeps the size.
        ratio: Smallest and largest width / height of the window, relative to the window that keeps the aspect.
        image_size: Size of a whole image in val and test in pixels, if not `size`.
        resize: How a whole image is resized to `image_size`.
        keep: Share of the box's area that must stay inside, 0..1.
        zoom_out: Probability of a larger window if there is a box or a mask.
        p: Probability of the transform.
    """

    def __init__(
        self,
        size: tuple[int, int],
        scale: tuple[float, float] = (0.35, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        image_size: Size | None = None,
        resize: Resize = "stretch",
        keep: float = 0.8,
        zoom_out: float = 0.5,
        p: float = 1.0,
        strict: bool = True,
    ) -> None:
        super().__init__(size=size, scale=scale, ratio=ratio, p=p)
        self.image_size, self.resize = image_size or size, resize
        self.keep, self.zoom_out = keep, zoom_out

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        box = _only_box(params, data)
        if box is None and not data.keys() & {"bboxes", "mask"}:
            return super().get_params_dependent_on_data(params, data)
        height, width = params["shape"][:2]
        if box is None:
            return {"crop_coords": self._draw(height, width)}
        for _ in range(20):
            x1, y1, x2, y2 = window = self._draw(height, width)
            inside = max(0, min(x2, box[2]) - max(x1, box[0])) * max(0, min(y2, box[3]) - max(y1, box[1]))
            if inside >= self.keep * (box[2] - box[0]) * (box[3] - box[1]):
                return {"crop_coords": window}
        return {"crop_coords": (0, 0, width, height)}

    def _draw(self, height: int, width: int) -> Corners:
        """Draws a window that, in each direction, lies inside the image or contains it."""
        draw = self.py_random.uniform
        whole = fit_into(height, width, self.image_size, self.resize)
        area = draw(*self.scale)
        area = 1 / area if draw(0, 1) < self.zoom_out else area
        ratio = math.exp(draw(*map(math.log, self.ratio)))
        new_height = max(1, round(self.size[0] * height / whole.height * math.sqrt(area / ratio)))
        new_width = max(1, round(self.size[1] * width / whole.width * math.sqrt(area * ratio)))
        x1, y1 = round(draw(0, width - new_width)), round(draw(0, height - new_height))
        return x1, y1, x1 + new_width, y1 + new_height

    def apply(self, img: np.ndarray, crop_coords: Corners, **params: Any) -> np.ndarray:
        return crop_image(img, crop_coords, self.size)

    def apply_to_mask(self, mask: np.ndarray, crop_coords: Corners, **params: Any) -> np.ndarray:
        return crop_mask(mask, crop_coords, self.size)

    def apply_to_bboxes(self, bboxes: np.ndarray, crop_coords: Corners, **params: Any) -> np.ndarray:
        height, width = params["shape"][:2]
        parts = crop_parts(crop_coords, height, width, self.size)
        part, place = (np.array(corners, float).reshape(2, 2) for corners in parts)
        corners = bboxes[:, :4].reshape(-1, 2, 2) * [width, height]
        corners = place[0] + (corners - part[0]) * (place[1] - place[0]) / (part[1] - part[0])
        return np.hstack([(corners / self.size[::-1]).reshape(-1, 4), bboxes[:, 4:]])


class ObjectAffine(A.Affine):
    """Random rotation, shear, scale and shift that keep the whole box of the object inside the frame.

    The box of a clipped box would not fit the rest of the object, so such draws are repeated; after 20 draws nothing is
    moved. Arguments, and results without a box, are those of albumentations' Affine.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        drawn = super().get_params_dependent_on_data(params, data)
        if (box := _only_box(params, data)) is None:
            return drawn
        (x1, y1, x2, y2), (height, width) = box, params["shape"][:2]
        corners = np.array([[x1, y1, 1], [x2, y1, 1], [x2, y2, 1], [x1, y2, 1]])
        for _ in range(20):
            moved = (corners @ drawn["bbox_matrix"].T)[:, :2]
            if (moved > -0.01).all() and (moved < np.array([width, height]) + 0.01).all():
                return drawn
            drawn = super().get_params_dependent_on_data(params, data)
        return {**drawn, "matrix": np.eye(3), "bbox_matrix": np.eye(3)}


class Occlude(A.CoarseDropout):
    """albumentations' CoarseDropout that keeps the box: a hidden object is still there."""

    def apply_to_bboxes(self, bboxes: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        return bboxes
