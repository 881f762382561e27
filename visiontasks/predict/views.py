"""Test-time augmentation: an image seen in several ways, the answers carried back and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.predict.answers import Answers
from visiontasks.predict.networks import Network

FLIPS = {"hflip": -1, "vflip": -2}  # the axis of (B, 3, H, W)


class Views:
    """A network that sees each picture mirrored and at other scales too.

    All combinations of the flips and scales that are given, and of none of them. Its answer is the mean over them: of
    probabilities, of boxes, and of the probabilities of each pixel.

    Args:
        network: What sees them.
        names: Of `hflip`, `vflip`, and factors on height and width such as `1.25`.

    Raises:
        InputError: A name is none of these, or the network takes pictures of one size only.
    """

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        self.network, self.spec, self.keys, self.any_size = network, network.spec, network.keys, network.any_size
        flips = [name for name in names if name in FLIPS]
        try:
            scales = [float(name) for name in names if name not in FLIPS]
        except ValueError:
            scales = [0.0]
        if any(not 0.1 <= scale <= 10 for scale in scales):
            raise InputError(f"tta: {' '.join(names)}: expected {', '.join(FLIPS)} and scales such as 0.75 or 1.25.")
        if scales and not network.any_size:
            raise InputError("tta: this model takes pictures of one size; leave the scales out.")
        kinds = [(None, flip) for flip in dict.fromkeys(flips)]
        self.views = [
            (scale, tuple(FLIPS[flip] for flip in chosen if flip))
            for scale in dict.fromkeys([1.0, *scales])
            for chosen in product(*kinds)
        ]

    def __call__(self, images: np.ndarray) -> Answers:
        """Answers pictures, uint8 (B, 3, H, W)."""
        total: Answers = {}
        for scale, axes in self.views:
            for key, part in self._back(self.network(_view(images, scale, axes)), axes).items():
                total[key] = total[key] + _resized(part, total[key].shape) if key in total else part
        return {key: part / len(self.views) for key, part in total.items()}

    def _back(self, answers: Answers, axes: tuple[int, ...]) -> Answers:
        """The answers to a view, mirrored back."""
        back = dict(answers)
        if "bbox" in back:
            for axis in axes:
                first = 0 if axis == -1 else 1  # x or y
                low, high = back["bbox"][:, first], back["bbox"][:, first + 2]
                back["bbox"] = back["bbox"].copy()
                back["bbox"][:, first], back["bbox"][:, first + 2] = 1 - high, 1 - low
        if "mask" in back:
            scores = np.flip(back["mask"], axes) if axes else back["mask"]
            back["mask"] = _softmax(scores) if len(self.views) > 1 else scores
        return back


def _view(images: np.ndarray, scale: float, axes: tuple[int, ...]) -> np.ndarray:
    if scale != 1:
        height, width = (max(1, round(side * scale)) for side in images.shape[-2:])
        images = np.stack(
            [cv2.resize(image.transpose(1, 2, 0), (width, height), interpolation=_quality(scale)) for image in images]
        ).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(np.flip(images, axes) if axes else images)


def _quality(scale: float) -> int:
    return cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _resized(part: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Masks of a view at the size of the picture's own, which comes first."""
    if part.shape == shape:
        return part
    planes = np.ascontiguousarray(part).reshape(-1, *part.shape[-2:])
    return np.stack([cv2.resize(plane, shape[:-3:-1]) for plane in planes]).reshape(shape)
