"""Windows cut out of images with objects: what a network that is to be slid over images trains on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.resize import interpolation
from visiontasks.core.sample import FILL
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.splits import SPLITS

BACKGROUND = "background"
SHIFT_MARGIN, SIZE_MARGIN = 1.5, 1.25  # background begins so many times beyond what still counts as an object's window
DRAWS = 200


class Window(NamedTuple):
    """A square of an image in whole pixels, which may reach beyond it, and the object in it (none: -1)."""

    left: int
    top: int
    side: int
    chosen: int


class Windows(VisionDataset):
    """Square windows of images: some with one object near the middle, the others `background`, the last class.

    An object's window has its center within `shift` of the window's and its longer side within `share` of it, so that
    one of the places and scales at which the network is later applied shows every object so. Background is any
    other window, of nothing, of a part of an object, or of one much too small or large; what is hardly off is neither.
    Background has no box, so only the label learns from it: the objectness is 1 minus its probability. What is outside
    the image is gray. The draws depend on seed, split and index alone.

    Args:
        split: train, val or test, of the source.
        source: Called with the split: images with `objects`.
        size: Height and width in pixels: the network's `image_size`.
        per_image: Windows of each image.
        background: Share of windows without an object, 0..1; half of these are drawn near one.
        share: Least and greatest longer side of an object as a share of the window.
        shift: Greatest distance of an object's center from the window's, in x and in y, as a share of the window; half
            the backbone's stride divided by `size` leaves no gap.
        seed: Another seed gives other windows.
    """

    def __init__(
        self,
        split: str,
        source: Callable[[str], VisionDataset],
        size: int = 96,
        per_image: int = 6,
        background: float = 0.5,
        share: tuple[float, float] = (0.35, 0.7),
        shift: float = 1 / 6,
        seed: int = 0,
    ) -> None:
        if size < 8 or per_image < 1 or not 0 <= background < 1:
            raise InputError(
                f"Windows: size={size} must be 8 or more, per_image={per_image} 1 or more, background={background} "
                "in 0..1 and below 1."
            )
        if not 0 < share[0] < share[1] <= 1 or not 0 < shift <= 0.5:
            raise InputError(
                f"Windows: share={share} must be two rising parts of a window, 0..1, and shift={shift} in 0..0.5."
            )
        self.source = source(split)
        if BACKGROUND in self.source.class_names:
            raise InputError(f"Windows: the source has a class {BACKGROUND!r} already, of {self.source.class_names}.")
        self.class_names = [*self.source.class_names, BACKGROUND]
        self._per_image, self._background, self._pixels = per_image, background, size
        self.share, self.shift, self._key = share, shift, (seed, SPLITS.index(split))

    def __len__(self) -> int:
        return len(self.source) * self._per_image

    def image(self, index: int) -> np.ndarray:
        window = self.window(index)
        whole = self.source.image(index // self._per_image)
        return cut(whole, window.left, window.top, window.side, self._pixels)

    def target(self, index: int) -> dict[str, Any]:
        left, top, side, chosen = self.window(index)
        if chosen < 0:
            return {"label": len(self.class_names) - 1}
        boxes, labels = self.source.objects(index // self._per_image)
        box = (boxes[chosen] - [left, top, left, top]) * (self._pixels / side)
        return {"label": int(labels[chosen]), "bbox": box.clip(0, self._pixels).astype(np.float32)}

    def name(self, index: int) -> str:
        return f"{self.source.name(index // self._per_image)} window {index % self._per_image}"

    def size(self, index: int) -> tuple[int, int]:
        return self._pixels, self._pixels

    def fits(self, window: Window, boxes: np.ndarray, loosely: bool = False) -> np.ndarray:
        """Which boxes, float32 (N, 4), have the window as theirs, bool (N,); `loosely`: or hardly miss it."""
        share, shift = self._places(window, boxes)
        size, far = (SIZE_MARGIN, SHIFT_MARGIN) if loosely else (1, 1)
        low, high = self.share
        return (share >= low / size) & (share <= high * size) & (shift.max(1) <= self.shift * far)

    def _places(self, window: Window, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Longer sides, (N,), and distances of the centers in x and y, (N, 2), as shares of the window."""
        middle = np.array([window.left, window.top]) + window.side / 2
        low, high = boxes[:, :2], boxes[:, 2:]
        return (high - low).max(1) / window.side, np.abs((low + high) / 2 - middle) / window.side

    def window(self, index: int) -> Window:
        """Draws where a window lies in its image."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        rng = np.random.default_rng([*self._key, index])
        number = index // self._per_image
        boxes, _ = self.source.objects(number)
        empty = rng.random() < self._background or not len(boxes)
        for _ in range(DRAWS):
            if empty:
                window = self._anywhere(rng, boxes, self.source.size(number))
                if not self.fits(window, boxes, loosely=True).any():
                    return window
            else:
                chosen = int(rng.integers(len(boxes)))
                window = self._around(rng, boxes[chosen], self.share, self.shift)._replace(chosen=chosen)
                if self.fits(window, boxes)[chosen]:  # rounding to pixels may have moved it out
                    return window
        raise InputError(
            f"{self.name(index)}: in {DRAWS} draws no window {'without' if empty else 'with'} an object at "
            f"share={self.share}, shift={self.shift:g}. Leave the image out, or change these."
        )

    def _anywhere(self, rng: np.random.Generator, boxes: np.ndarray, size: tuple[int, int]) -> Window:
        """Half of the draws near an object, of which only place or scale is wrong; the others all over the image."""
        if len(boxes) and rng.random() < 0.5:
            wide = (self.share[0] / 3, min(3 * self.share[1], 2.0))
            return self._around(rng, boxes[rng.integers(len(boxes))], wide, 0.5)
        side = int(np.exp(rng.uniform(*np.log([self._pixels / 3, max(self._pixels, *size)]))))
        left, top = (
            int(rng.integers(min(0, end - side) - side // 3, max(0, end - side) + side // 3 + 1)) for end in size[::-1]
        )
        return Window(left, top, side, -1)

    def _around(self, rng: np.random.Generator, box: np.ndarray, share: tuple[float, float], shift: float) -> Window:
        side = max(2, round(float((box[2:] - box[:2]).max() / np.exp(rng.uniform(*np.log(share))))))
        corner = (box[:2] + box[2:]) / 2 + rng.uniform(-shift, shift, 2) * side - side / 2
        left, top = np.rint(corner).astype(int).tolist()
        return Window(left, top, side, -1)


def cut(image: np.ndarray, left: int, top: int, side: int, size: int) -> np.ndarray:
    """A square of an image, uint8 (H, W, 3), gray where it reaches beyond, brought to a size in pixels."""
    height, width = image.shape[:2]
    part = np.full((side, side, 3), FILL, np.uint8)
    x1, y1, x2, y2 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    if x1 < x2 and y1 < y2:
        part[y1 - top : y2 - top, x1 - left : x2 - left] = image[y1:y2, x1:x2]
    return part if side == size else cv2.resize(part, (size, size), interpolation=interpolation(side, side, size, size))
