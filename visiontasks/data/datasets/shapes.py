"""Pictures of coloured shapes, generated on the fly."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.splits import SPLITS
from visiontasks.samples import InputError, Sample

KINDS = ("circle", "square", "triangle", "star")


class Shapes(VisionDataset):
    """One to three coloured shapes on a textured background; nothing is read or downloaded.

    The largest shape is the main one: `label` is its kind, `bbox` its box and `mask` its pixels
    (0 background, 1 + label inside). It is never covered by the others.

    Args:
        split: train, val or test: three disjoint streams of pictures.
        count: Number of pictures in train; val and test have a quarter of it.
        size: Height and width in pixels.
        difficulty: 0..1. Noise of the background, number and size of the distracting shapes, and
            how close the colours may come to the background's.
        seed: Another seed gives other pictures.
    """

    def __init__(self, split: str, count: int = 800, size: int = 96, difficulty: float = 0.5, seed: int = 0) -> None:
        if split not in SPLITS:
            raise InputError(f"split {split!r} is not one of {', '.join(SPLITS)}.")
        if not 0 <= difficulty <= 1 or size < 16 or count < 4:
            raise InputError(f"Shapes: difficulty={difficulty} must be in 0..1, size={size} >= 16, count={count} >= 4.")
        self.class_names, self.mask_names = list(KINDS), ["background", *KINDS]
        self._count = count if split == "train" else count // 4
        self._key = (seed, SPLITS.index(split))
        self._split, self._pixels, self.difficulty = split, size, difficulty

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> np.ndarray:
        return self[index]["image"]

    def target(self, index: int) -> dict[str, Any]:
        return {key: self[index][key] for key in ("label", "bbox")}

    def mask(self, index: int) -> np.ndarray:
        return self[index]["mask"]

    def name(self, index: int) -> str:
        return f"{self._split}/{self._key[0]}-{index}"

    def size(self, index: int) -> tuple[int, int]:
        return self._pixels, self._pixels

    def labels(self) -> np.ndarray:
        return np.arange(len(self)) % len(KINDS)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return dict(_draw(self._key, index, self._pixels, self.difficulty, index % len(KINDS)))


@lru_cache(maxsize=1)  # target() and image() of one sample come one after the other
def _draw(key: tuple[int, int], index: int, size: int, difficulty: float, label: int) -> Sample:
    rng = np.random.default_rng([*key, index])
    image, colour = _background(rng, size, difficulty)
    radius = size * rng.uniform(0.18, 0.3)
    centre = rng.uniform(radius, size - radius, 2)
    main = _outline(rng, label, centre, radius)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [main], label + 1)
    for _ in range(rng.integers(0, 3)):
        small = radius * rng.uniform(0.2, 0.3 + 0.4 * difficulty)
        other = _outline(rng, int(rng.integers(4)), rng.uniform(small, size - small, 2), small)
        covered = np.zeros_like(mask)
        cv2.fillPoly(covered, [other], 1)
        if not mask[cv2.dilate(covered, np.ones((3, 3), np.uint8)) > 0].any():
            _paint(image, covered, rng, colour, difficulty)
    _paint(image, mask, rng, colour, difficulty)
    ys, xs = np.nonzero(mask)
    bbox = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
    return {"image": image, "index": index, "size": (size, size), "label": label, "bbox": bbox, "mask": mask}


def _background(rng: np.random.Generator, size: int, difficulty: float) -> tuple[np.ndarray, np.ndarray]:
    colour = rng.uniform(40, 215, 3)
    contrast = 10 + 40 * difficulty
    cells = rng.normal(0, contrast, (int(rng.integers(3, 9)),) * 2 + (3,)).astype(np.float32)
    image = colour + cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, contrast / 3, image.shape)
    return image.clip(0, 255).astype(np.uint8), colour


def _outline(rng: np.random.Generator, kind: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """Corners of a circle (a polygon of many), square, triangle or five-pointed star: int32 (N, 2)."""
    corners = (48, 4, 3, 10)[kind]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    radii = np.where(np.arange(corners) % 2, 0.45 if kind == 3 else 1, 1) * radius
    return np.rint(centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]).astype(np.int32)


def _paint(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, background: np.ndarray, difficulty: float
) -> None:
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - background).max() < 110 - 60 * difficulty:
        colour = rng.uniform(0, 255, 3)
    noise = rng.normal(0, 5 + 15 * difficulty, image.shape)
    image[:] = np.where(mask[..., None] > 0, (colour + noise).clip(0, 255), image)
