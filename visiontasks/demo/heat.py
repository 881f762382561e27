"""Where the weights of a picture belong in its image."""

from typing import Any

import cv2
import numpy as np

from visiontasks.core.geometry import Frame, height_width


def placed(weights: np.ndarray, size: tuple[int, int], spec: dict[str, Any]) -> np.ndarray:
    """Moves the weights of a picture, float (h, w), to an image of a height and width: float32 (height, width).

    They are 0 where the model does not see the image, which `resize: crop` cuts.
    """
    share = spec.get("crop_share", 1.0)
    seen = height_width(spec["image_size"])
    whole = int(seen[0] / share), int(seen[1] / share)
    new = Frame(*size, whole, spec["resize"]).placement
    scale = np.array([new.width / size[1], new.height / size[0]])
    offset = np.array([new.left - (whole[1] - seen[1]) // 2, new.top - (whole[0] - seen[0]) // 2])
    moved = np.column_stack([np.diag(scale), (scale - 1) / 2 + offset])
    known, ends, inverse = weights.astype(np.float32), size[::-1], cv2.WARP_INVERSE_MAP
    inside = cv2.warpAffine(np.ones_like(known), moved, ends, flags=cv2.INTER_NEAREST | inverse)
    linear = cv2.INTER_LINEAR | inverse
    return cv2.warpAffine(known, moved, ends, flags=linear, borderMode=cv2.BORDER_REPLICATE) * inside
