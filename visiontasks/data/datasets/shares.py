"""Boxes and outlines that are given as shares of their image."""

from pathlib import Path

import numpy as np

from visiontasks.core.faults import usable
from visiontasks.core.images import read_size
from visiontasks.data.datasets.records import Annotation


def in_pixels(found: list[Annotation], image: str | Path) -> list[Annotation]:
    """Returns objects, whose boxes and outlines are shares of an image, 0..1, in its pixels."""
    if not found or (size := usable("file", image, read_size, image)) is None:
        return []
    scale = np.array(size[::-1])
    moved = []
    for one in found:
        box, *shape = [
            (np.array(part).reshape(-1, 2) * scale).ravel().tolist() for part in (one.box or (), *(one.shape or ()))
        ]
        moved.append(one._replace(box=tuple(box) or None, shape=one.shape and shape))
    return moved
