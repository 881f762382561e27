"""Masks of images that are too large for one pass."""

import math
from collections.abc import Callable

import numpy as np


def tiled_mask(
    scores: Callable[[np.ndarray], np.ndarray], image: np.ndarray, tile: int, overlap: float = 0.25, batch_size: int = 4
) -> np.ndarray:
    """Classifies the pixels of an image at its own resolution, tile by tile.

    The tiles overlap. The class of each pixel is that of the mean scores of its tiles, weighted by a bell over each
    tile, which avoids seams. Memory holds the image, its mask, and the scores of one row of tiles. An image that is not
    larger than a tile is classified in one pass.

    Args:
        scores: Function from uint8 images (B, 3, h, w) to float32 scores (B, classes, h, w).
        image: uint8 (H, W, 3).
        tile: Height and width of a tile in pixels, at most those of the image.
        overlap: Minimum share of a tile that overlaps with the next one, at least 0 and below 1.
        batch_size: Tiles per batch.

    Returns:
        uint8 (H, W).
    """
    height, width = image.shape[:2]
    rows, columns = (_starts(side, tile, overlap) for side in (height, width))
    tall, wide = min(tile, height), min(tile, width)
    weight = np.outer(_bell(tall), _bell(wide)).astype(np.float32)
    mask = np.empty((height, width), np.uint8)
    band, top = None, 0  # scores of the rows `top` to `top + tall`, not complete yet
    for row, after in zip(rows, [*rows[1:], height], strict=True):
        if band is not None:
            band[:, : top + tall - row] = band[:, row - top :]
            band[:, top + tall - row :] = 0
        for first in range(0, len(columns), batch_size):
            chosen = columns[first : first + batch_size]
            tiles = np.stack([image[row : row + tall, x : x + wide] for x in chosen]).transpose(0, 3, 1, 2)
            parts = scores(np.ascontiguousarray(tiles))
            if band is None:
                band = np.zeros((parts.shape[1], tall, width), np.float32)
            for x, part in zip(chosen, parts, strict=True):
                band[:, :, x : x + wide] += part * weight
        assert band is not None
        top, done = row, min(after, row + tall) - row
        mask[row : row + done] = band[:, :done].argmax(0)
    return mask


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    """Returns where tiles begin along a side: as few as possible, evenly spaced, the last one ends with the image."""
    room = max(0, side - tile)
    steps = math.ceil(room / max(1, tile * (1 - overlap)))
    return [round(room * step / steps) for step in range(steps + 1)] if steps else [0]


def _bell(length: int) -> np.ndarray:
    """Returns weights with their maximum in the center, never zero, because the image border has no other tile."""
    return np.sin(math.pi * (np.arange(length) + 0.5) / length) ** 2 + 1e-3
