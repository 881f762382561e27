"""Masks and objects of images that are too large for one pass."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from visiontasks.core.geometry import Corners
from visiontasks.core.objects import Objects, area, suppress, take
from visiontasks.targets.candidates import SUPPRESSED

OVERLAP = 0.25  # least share of a tile that overlaps with the next one
BORDER, INSIDE, SURE = 0.02, 0.7, 0.5  # shares of a tile, of the area of a cut box, and of its score; see `_is_part`


def tiled_mask(
    scores: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int,
    overlap: float = OVERLAP,
    batch_size: int = 4,
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


def tiled_objects(
    detect: Callable[[np.ndarray], list[Objects]], image: np.ndarray, tile: int, batch_size: int = 4
) -> Objects:
    """Finds the objects of an image at its own resolution, tile by tile.

    The tiles overlap by a quarter, so that each object up to this size is whole in one of them. A box that an inner
    border of a tile cuts is dropped where another tile has more of the object; equal boxes are suppressed. An object
    that is larger than the overlap may be found in parts.

    Args:
        detect: Function from uint8 images (B, 3, h, w) to the objects of each, with `scores`, in its pixels.
        image: uint8 (H, W, 3).
        tile: Height and width of a tile in pixels, at most those of the image.
        batch_size: Tiles per batch.

    Returns:
        The objects, the best first, without masks.
    """
    height, width = image.shape[:2]
    windows = list(_windows(height, width, tile))
    kept: Objects = {}
    for first in range(0, len(windows), batch_size):
        chosen = windows[first : first + batch_size]
        tiles = np.stack([image[top:bottom, left:right] for left, top, right, bottom in chosen]).transpose(0, 3, 1, 2)
        for number, found in enumerate(detect(np.ascontiguousarray(tiles)), first):
            new = {key: part for key, part in found.items() if key != "masks"}
            new["boxes"] = found["boxes"] + np.array(windows[number][:2] * 2, np.float32)
            new["tile"] = np.full(len(new["labels"]), number)
            new["cut"] = _is_cut(new["boxes"], windows[number], height, width)
            kept = _join(kept, new, windows[number]) if kept else new
    order = np.argsort(-kept["scores"], kind="stable")
    return {key: part[order] for key, part in kept.items() if key not in ("tile", "cut")}


def _windows(height: int, width: int, tile: int) -> Iterator[Corners]:
    for top in _starts(height, tile, OVERLAP):
        for left in _starts(width, tile, OVERLAP):
            yield left, top, min(left + tile, width), min(top + tile, height)


def _is_cut(boxes: np.ndarray, window: Corners, height: int, width: int) -> np.ndarray:
    """Tells of each box whether it ends at a border of its window that is not one of the image."""
    left, top, right, bottom = window
    near = max(2.0, BORDER * max(right - left, bottom - top))
    inner = np.array([left > 0, top > 0, right < width, bottom < height])
    return ((np.abs(boxes - window) <= near) & inner).any(1)


def _join(kept: Objects, new: Objects, window: Corners) -> Objects:
    """Joins the objects of a tile with those of the tiles before; only those in its window can be the same."""
    low, high = np.array(window[:2]), np.array(window[2:])
    near = ((kept["boxes"][:, :2] < high) & (kept["boxes"][:, 2:] > low)).all(1)
    both = {key: np.concatenate([part[near], new[key]]) for key, part in kept.items()}
    both = take(both, ~_is_part(both))
    both = take(both, suppress(both["boxes"], both["scores"], both["labels"], SUPPRESSED))
    return {key: np.concatenate([part[~near], both[key]]) for key, part in kept.items()}


def _is_part(objects: Objects) -> np.ndarray:
    """Tells of each cut box whether another tile has a larger one that covers it and is about as sure.

    It may be of another class, because a part of an object looks like something else.
    """
    boxes, scores, tile = (objects[key] for key in ("boxes", "scores", "tile"))
    low, high = np.maximum(boxes[:, None, :2], boxes[:, :2]), np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    inside, size = (high - low).clip(0).prod(-1), area(boxes)
    fuller = (inside >= INSIDE * size[:, None]) & (size > size[:, None])
    fuller &= (tile != tile[:, None]) & (scores >= SURE * scores[:, None])
    return objects["cut"] & fuller.any(1)


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    """Returns where tiles begin along a side: as few as possible, evenly spaced, the last one ends with the image."""
    room = max(0, side - tile)
    steps = math.ceil(room / max(1, tile * (1 - overlap)))
    return [round(room * step / steps) for step in range(steps + 1)] if steps else [0]


def _bell(length: int) -> np.ndarray:
    """Returns weights with their maximum in the center, never zero, because the image border has no other tile."""
    return np.sin(math.pi * (np.arange(length) + 0.5) / length) ** 2 + 1e-3
