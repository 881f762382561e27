"""Generated pictures of colored shapes."""

from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.objects import Objects, make_objects
from visiontasks.core.sample import Sample
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.splits import SPLITS

KINDS = ("circle", "square", "triangle", "star")


class GeneratedSet(VisionDataset):
    """Pictures that depend only on seed, split and index; `Shapes` documents the arguments."""

    def __init__(self, split: str, count: int, size: int, difficulty: float, seed: int) -> None:
        if split not in SPLITS:
            raise InputError(f"split {split!r} is not one of {', '.join(SPLITS)}.")
        if not 0 <= difficulty <= 1 or size < 16 or count < 4:
            raise InputError(f"{type(self).__name__}: {difficulty=} must be in 0..1, {size=} >= 16, {count=} >= 4.")
        self.class_names = list(KINDS)
        self._count = count if split == "train" else count // 4
        self._key = (seed, SPLITS.index(split))
        self._split, self._pixels, self.difficulty = split, size, difficulty

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return f"{self._split}/{self._key[0]}-{index}"

    def size(self, index: int) -> tuple[int, int]:
        return self._pixels, self._pixels


class Shapes(GeneratedSet):
    """One to three colored shapes on a textured background; nothing is read or downloaded.

    The largest shape is the main one and is never covered: `label` is its kind, `bbox` its box, `mask` its pixels
    (0 background, 1 + label inside), and `value` its area as a share of the picture. `labels` are the kinds of all
    visible shapes.

    Args:
        split: train, val or test: three disjoint streams of pictures.
        count: Number of pictures in train; val and test have a quarter of it.
        size: Height and width in pixels.
        difficulty: 0..1: noise, number and size of the distracting shapes, and how close colors are to the background.
        seed: Another seed gives other pictures.
    """

    def __init__(self, split: str, count: int = 800, size: int = 96, difficulty: float = 0.5, seed: int = 0) -> None:
        super().__init__(split, count, size, difficulty, seed)
        self.mask_names, self.value_names, self.labels_names = ["background", *KINDS], ["area"], list(KINDS)

    def image(self, index: int) -> np.ndarray:
        return self[index]["image"]

    def target(self, index: int) -> dict[str, Any]:
        return {key: self[index][key] for key in ("label", "bbox", "value", "labels")}

    def mask(self, index: int) -> np.ndarray:
        return self[index]["mask"]

    def labels(self) -> np.ndarray:
        return np.arange(len(self)) % len(KINDS)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return dict(_draw(self._key, index, self._pixels, self.difficulty))


@lru_cache(maxsize=1)  # target() and image() of one sample come one after the other
def _draw(key: tuple[int, int], index: int, size: int, difficulty: float) -> Sample:
    rng, label = np.random.default_rng([*key, index]), index % len(KINDS)
    image, color = _background(rng, size, difficulty)
    radius = size * rng.uniform(0.18, 0.3)
    center = rng.uniform(radius, size - radius, 2)
    main = _outline(rng, label, center, radius)
    mask = cv2.fillPoly(np.zeros((size, size), np.uint8), [main], label + 1)
    kinds = np.zeros((size, size), np.uint8)  # 1 + the kind of the visible shape at each pixel
    for _ in range(rng.integers(0, 3)):
        small = radius * rng.uniform(0.2, 0.3 + 0.4 * difficulty)
        kind = int(rng.integers(len(KINDS)))
        other = _outline(rng, kind, rng.uniform(small, size - small, 2), small)
        covered = cv2.fillPoly(np.zeros_like(mask), [other], 1)
        if not mask[cv2.dilate(covered, np.ones((3, 3), np.uint8)) > 0].any():
            _paint(image, covered, rng, color, difficulty)
            kinds[covered > 0] = kind + 1
    _paint(image, mask, rng, color, difficulty)
    seen = np.isin(np.arange(1, len(KINDS) + 1), np.where(mask > 0, mask, kinds)).astype(np.float32)
    ys, xs = np.nonzero(mask)
    bbox = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
    known = {"label": label, "bbox": bbox, "mask": mask, "value": np.array([len(xs) / size**2], np.float32)}
    return {"image": image, "index": index, "size": (size, size), **known, "labels": seen}


def _background(rng: np.random.Generator, size: int, difficulty: float) -> tuple[np.ndarray, np.ndarray]:
    color = rng.uniform(40, 215, 3)
    contrast = 10 + 40 * difficulty
    cells = rng.normal(0, contrast, (int(rng.integers(3, 9)),) * 2 + (3,)).astype(np.float32)
    image = color + cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, contrast / 3, image.shape)
    return image.clip(0, 255).astype(np.uint8), color


def _outline(rng: np.random.Generator, kind: int, center: np.ndarray, radius: float) -> np.ndarray:
    """Returns the corners of a circle (48 corners), square, triangle or five-pointed star: int32 (N, 2)."""
    corners = (48, 4, 3, 10)[kind]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    radii = np.where(np.arange(corners) % 2, 0.45 if kind == 3 else 1, 1) * radius
    return np.rint(center + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]).astype(np.int32)


def _paint(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, background: np.ndarray, difficulty: float
) -> None:
    color = rng.uniform(0, 255, 3)
    while np.abs(color - background).max() < 110 - 60 * difficulty:
        color = rng.uniform(0, 255, 3)
    noise = rng.normal(0, 5 + 15 * difficulty, image.shape)
    image[:] = np.where(mask[..., None] > 0, (color + noise).clip(0, 255), image)


class Scenes(GeneratedSet):
    """Larger pictures with up to three (or more) separate shapes of many sizes; nothing is read or downloaded.

    The target is the `label` and `bbox` of the largest shape, or with `objects: all` all shapes, the largest first.

    Args:
        split: train, val or test: three disjoint streams of pictures.
        count: Number of pictures in train; val and test have a quarter of it.
        size: Height and width in pixels.
        radii: Smallest and largest radius of a shape as a share of `size`; its logarithm is uniform.
        most: Largest number of shapes; numbers from 1 are equally frequent. Shapes without a free place are left out.
        objects: Use the `largest` shape, or `all`.
        empty: Share of pictures without a shape, 0..1; for `objects: all`.
        masks: Add the pixels of each shape; for `objects: all`.
        difficulty: 0..1: noise of the background, and how close colors are to the background.
        seed: Another seed gives other pictures.
    """

    def __init__(
        self,
        split: str,
        count: int = 800,
        size: int = 256,
        radii: tuple[float, float] = (0.08, 0.24),
        most: int = 3,
        difficulty: float = 0.5,
        seed: int = 0,
        objects: Literal["largest", "all"] = "largest",
        empty: float = 0.0,
        masks: bool = False,
    ) -> None:
        super().__init__(split, count, size, difficulty, seed)
        if masks and objects != "all":
            raise InputError(f"Scenes: masks are those of all shapes; found {objects=}. Set `objects: all`.")
        if most < 1:
            raise InputError(f"Scenes: {most=} must be >= 1.")
        if not 0 <= empty < 1 or (empty and objects != "all"):
            raise InputError(
                f"Scenes: {empty=} must be in 0..1 and below 1; pictures without a shape need `objects: all`."
            )
        if not 0 < radii[0] <= radii[1] <= 0.5 or radii[0] * size < 4:
            raise InputError(f"Scenes: {radii=} must be two rising shares of {size} pixels, 4 pixels to 0.5.")
        self._look = (size, tuple(radii), most, difficulty, empty)
        self._all, self._masks = objects == "all", masks

    def image(self, index: int) -> np.ndarray:
        return self._scene(index)[0].copy()

    def target(self, index: int) -> dict[str, Any]:
        objects = self.objects(index)
        if self._all:
            return {"objects": objects}
        return {"label": int(objects["labels"][0]), "bbox": objects["boxes"][0]}

    def objects(self, index: int) -> Objects:
        return {key: part.copy() for key, part in self._scene(index)[1].items()}

    def instances(self, index: int) -> np.ndarray | None:
        outlines = self._scene(index)[2]
        empty = np.zeros((self._pixels, self._pixels), np.uint8)
        masks = [cv2.fillPoly(empty.copy(), [outline], 1) == 1 for outline in outlines]
        return np.array(masks, bool).reshape(-1, *empty.shape) if self._masks else None

    def name(self, index: int) -> str:
        return f"scene {super().name(index)}"

    def _scene(self, index: int) -> tuple[np.ndarray, Objects, list[np.ndarray]]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return _draw_scene(self._key, index, *self._look)


@lru_cache(maxsize=256)  # several windows show one picture
def _draw_scene(
    key: tuple[int, int], index: int, size: int, radii: tuple[float, float], most: int, difficulty: float, empty: float
) -> tuple[np.ndarray, Objects, list[np.ndarray]]:
    rng = np.random.default_rng([*key, index])
    image, color = _background(rng, size, difficulty)
    drawn: list[tuple[np.ndarray, float]] = []
    boxes, labels, outlines = [], [], []
    number = 0 if empty and np.random.default_rng([*key, index, 1]).random() < empty else rng.integers(1, most + 1)
    for radius in sorted(size * np.exp(rng.uniform(*np.log(radii), number)), reverse=True):
        places = rng.uniform(radius + 1, size - radius - 1, (20, 2))
        free = (p for p in places if all(np.hypot(*(p - other)) > radius + r + 2 for other, r in drawn))
        if (center := next(free, None)) is None:
            continue
        drawn.append((center, radius))
        labels.append(int(rng.integers(len(KINDS))))
        corners = _outline(rng, labels[-1], center, radius)
        (left, top), (right, bottom) = corners.min(0), corners.max(0) + 1
        inside = cv2.fillPoly(np.zeros((bottom - top, right - left), np.uint8), [corners - [left, top]], 1)
        _paint(image[top:bottom, left:right], inside, rng, color, difficulty)
        boxes.append([left, top, right, bottom])
        outlines.append(corners)
    return image, make_objects(boxes, labels), outlines
