"""Images without answers: what a trained model is asked about."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.images import EXTENSIONS, read_image, to_rgb
from visiontasks.samples import InputError


class Images(VisionDataset):
    """Images to predict, in the order given.

    Args:
        images: Paths, Pillow images, or uint8 arrays (H, W, 3) in RGB.
    """

    def __init__(self, images: Iterable[str | Path | Image.Image | np.ndarray]) -> None:
        self.images = list(images)
        self.class_names = []

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        image = self.images[index]
        if isinstance(image, Image.Image):
            return to_rgb(image)
        if not isinstance(image, np.ndarray):
            return read_image(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"image {index}: an array must be uint8 (H, W, 3); found {image.dtype} {image.shape}.")
        return image

    def target(self, index: int) -> dict[str, Any]:
        return {}

    def name(self, index: int) -> str:
        image = self.images[index]
        return str(image) if isinstance(image, str | Path) else f"image {index}"


def find_images(sources: Iterable[str | Path]) -> list[Path]:
    """Lists image files: a file as it is, a folder with all images below it in string order.

    Raises:
        InputError: A source does not exist, or a folder has no image.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            named = (path for path in source.rglob("*") if path.suffix.lower() in EXTENSIONS)
            below = sorted((path for path in named if not (path.is_dir() or path.name.startswith("."))), key=str)
            if not below:
                raise InputError(f"{source}: no images ({', '.join(EXTENSIONS)}) in this folder.")
            found += below
        elif source.exists():
            found.append(source)
        else:
            raise InputError(f"{source}: no such file or folder.")
    return found
