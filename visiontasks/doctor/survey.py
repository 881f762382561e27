"""One pass over the images and masks of a split."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from visiontasks.core.progress import track
from visiontasks.data import VisionDataset
from visiontasks.doctor.look import SIDE, Look, look_at_file, look_at_pixels, unreadable

CELLS = SIDE // 2  # rows and columns of a small mask


class MaskLook(NamedTuple):
    """One mask: the pixels of each value, int64 (256,), its height and width, the classes of cells, uint8 (16, 16), and
    why it cannot be read."""

    counts: np.ndarray
    size: tuple[int, int]
    cells: np.ndarray
    error: str = ""


class Survey(NamedTuple):
    """What was seen of each image of a split; `masks` is empty if there are none, and has None for a missing one."""

    looks: list[Look]
    masks: list[MaskLook | None]

    @property
    def thumbnails(self) -> np.ndarray:
        """uint8 (N, 32, 32, 3)."""
        return np.stack([look.thumbnail for look in self.looks])


def survey(dataset: VisionDataset, split: str) -> Survey:
    """Looks at all images and masks of a split; each file is read once."""
    files = files_of(dataset)
    has_masks = bool(dataset.names("mask"))

    def see(index: int) -> tuple[Look, MaskLook | None]:
        return look(dataset, files, index), _mask(dataset, index) if has_masks else None

    places = range(len(dataset))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(track(pool.map(see, places), f"Looking at {split}", len(dataset)))
    return Survey([look for look, _ in found], [mask for _, mask in found] if has_masks else [])


def files_of(dataset: VisionDataset) -> Sequence[Path]:
    """Returns the file of each image; empty if the images are not whole files."""
    files = dataset.files()
    return files if len(files) == len(dataset) else ()


def look(dataset: VisionDataset, files: Sequence[Path], index: int) -> Look:
    """Looks at one image; `files` are those of `files_of`."""
    if files:
        return look_at_file(files[index], dataset.gray_range, dataset.page)
    try:
        return look_at_pixels(dataset.image(index))
    except Exception as error:  # of a dataset of the user's own
        return unreadable(str(error))


def _mask(dataset: VisionDataset, index: int) -> MaskLook | None:
    try:
        mask = dataset.mask(index)
    except Exception as error:  # a training would stop
        return MaskLook(np.zeros(256, np.int64), (0, 0), np.full((CELLS, CELLS), 255, np.uint8), str(error))
    if mask is None:
        return None
    cells = cv2.resize(mask, (CELLS, CELLS), interpolation=cv2.INTER_NEAREST_EXACT)
    return MaskLook(np.bincount(mask.ravel(), minlength=256), mask.shape[:2], cells)
