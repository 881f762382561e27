"""Pixels as COCO's `segmentation`: run lengths or polygons."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np


def uncompressed_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encodes a mask, bool (H, W), as lengths of runs, column by column, the first of pixels outside."""
    flat = np.append(False, mask.ravel(order="F"))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": [int(count) for count in counts]}


def rle(mask: np.ndarray) -> dict[str, Any]:
    """Encodes a mask, bool (H, W), as COCO's compressed string of run lengths."""
    from pycocotools import mask as codec

    packed = codec.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}


def polygons(mask: np.ndarray) -> list[list[int]]:
    """Outlines a mask, bool (H, W), with polygons along the edges of its pixels: x, y, x, y, ... of each.

    They are exact: pycocotools draws the same pixels. A region is divided below each of its holes, because COCO's
    polygons have none.
    """
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for number, (left, top, width, height, _) in enumerate(boxes[1:].tolist(), 1):
        part = (parts[top : top + height, left : left + width] == number).astype(np.uint8)
        found += [np.add(outline, (left, top)).ravel().tolist() for outline in _outlines(part)]
    return found


def _outlines(part: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the outlines, int (N, 2), x and y, of a connected part, uint8 (H, W)."""
    borders, tree = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    below = {int(border[..., 1].max()) for border, (*_, parent) in zip(borders, tree[0], strict=True) if parent >= 0}
    for first, last in pairwise(sorted({0, *below, len(part)})):
        # OpenCV's borders run through the centers of pixels: of four small ones per pixel, rounded to their outer ends
        small = part[first:last].repeat(2, 0).repeat(2, 1)
        for border in cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
            yield np.add(_corners((border[:, 0] + 1) // 2), (0, first))


def _corners(points: np.ndarray) -> np.ndarray:
    """Returns the points of a closed outline, int (N, 2), at which it turns."""
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


SEGMENTATIONS: dict[str, Callable[[np.ndarray], Any]] = {
    "uncompressed_rle": uncompressed_rle,
    "rle": rle,
    "polygons": polygons,
}
