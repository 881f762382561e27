"""Windows cut out of images, to train networks that slide over images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.depth import GrayRange
from visiontasks.core.errors import InputError
from visiontasks.core.resize import crop_image
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.splits import SPLITS

BACKGROUND = "background"
SHIFT_MARGIN, SIZE_MARGIN = 1.5, 1.25  # background windows miss the limits of object windows by these factors
DRAWS = 200


class Window(NamedTuple):
    """A square in whole pixels, partly outside the image in some cases, and the index of its object (-1 if none)."""

    left: int
    top: int
    side: int
    chosen: int


class Windows(VisionDataset):
    """Square windows of images: some show one object near the center, the others are `background`, the last class.

    In an object window, the distance between the centers of object and window is at most `shift`, and the longer side
    of the object is within `share`: every object appears so at one of the places and scales of a sliding network.
    Background windows show nothing, a part of an object, or an object that is much too small or large; windows that
    just miss the limits are not used. Background has no box and trains only the label: objectness is 1 minus its
    probability. Pixels outside the image are gray. The draws depend only on seed, split and index.

    Args:
        split: train, val or test, of the source.
        source: Dataset with `objects`, called with the split.
        size: Height and width in pixels: the `image_size` of the network.
        per_image: Number of windows per image.
        background: Share of windows without an object, 0..1; half of these are drawn near an object.
        share: Smallest and largest longer side of an object as a share of the window.
        shift: Largest distance of the object's center from the window's center, in x and in y, as a share of the
            window; half the stride of the backbone divided by `size` leaves no gap.
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
            sizes = f"{size=} must be 8 or more, {per_image=} 1 or more"
            raise InputError(f"Windows: {sizes}, {background=} in 0..1 and below 1.")
        if not 0 < share[0] < share[1] <= 1 or not 0 < shift <= 0.5:
            raise InputError(f"Windows: {share=} must be two rising parts of a window, 0..1, and {shift=} in 0..0.5.")
        self.source = source(split)
        if BACKGROUND in self.source.class_names:
            raise InputError(f"Windows: the source has a class {BACKGROUND!r} already, of {self.source.class_names}.")
        self.class_names = [*self.source.class_names, BACKGROUND]
        self._per_image, self._background, self._pixels = per_image, background, size
        self.share, self.shift, self._key = share, shift, (seed, SPLITS.index(split))

    def set_reading(self, gray_range: GrayRange | None, page: int | None = None) -> None:
        self.source.set_reading(gray_range, page)

    def __len__(self) -> int:
        return len(self.source) * self._per_image

    def files(self) -> Sequence[Path]:
        return self.source.files()

    def image(self, index: int) -> np.ndarray:
        left, top, side, _ = self.window(index)
        window = left, top, left + side, top + side
        return crop_image(self.source.image(index // self._per_image), window, self._pixels)

    def target(self, index: int) -> dict[str, Any]:
        left, top, side, chosen = self.window(index)
        if chosen < 0:
            return {"label": len(self.class_names) - 1}
        objects = self.source.objects(index // self._per_image)
        box = (objects["boxes"][chosen] - [left, top, left, top]) * (self._pixels / side)
        return {"label": int(objects["labels"][chosen]), "bbox": box.clip(0, self._pixels).astype(np.float32)}

    def name(self, index: int) -> str:
        return f"{self.source.name(index // self._per_image)} window {index % self._per_image}"

    def size(self, index: int) -> tuple[int, int]:
        return self._pixels, self._pixels

    def fits(self, window: Window, boxes: np.ndarray, loosely: bool = False) -> np.ndarray:
        """Returns which boxes, float32 (N, 4), fit the window, bool (N,); `loosely` allows boxes that just miss it."""
        center = np.array([window.left, window.top]) + window.side / 2
        corner, opposite = boxes[:, :2], boxes[:, 2:]
        share = (opposite - corner).max(1) / window.side
        shift = np.abs((corner + opposite) / 2 - center).max(1) / window.side
        size, far = (SIZE_MARGIN, SHIFT_MARGIN) if loosely else (1, 1)
        return (share >= self.share[0] / size) & (share <= self.share[1] * size) & (shift <= self.shift * far)

    def window(self, index: int) -> Window:
        """Draws the place of a window in its image."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        rng = np.random.default_rng([*self._key, index])
        number = index // self._per_image
        boxes = self.source.objects(number)["boxes"]
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
        fault = f"in {DRAWS} draws no window {'without' if empty else 'with'} an object"
        options = f"share={self.share}, shift={self.shift:g}"
        raise InputError(f"{self.name(index)}: {fault} at {options}. Remove the image, or change these.")

    def _anywhere(self, rng: np.random.Generator, boxes: np.ndarray, size: tuple[int, int]) -> Window:
        """Draws half of the windows near an object, where only place or scale is wrong, the others anywhere."""
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
