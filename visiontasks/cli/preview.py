"""The command `visiontasks preview`, which draws augmented training images."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from visiontasks.callbacks.wandb import log_pictures
from visiontasks.core.draw import TRUE, grid, titled
from visiontasks.core.files import atomic_write
from visiontasks.data import VisionDataModule
from visiontasks.data.augment import Augment
from visiontasks.targets.sample import draw_sample, resize_sample

DRAWS = 5


def preview(data: VisionDataModule, index: int = 0) -> dict[str, np.ndarray]:
    """Draws the augmentation of a training image and the first training batch, with their targets.

    Args:
        data: The data of a config.
        index: Position of the image in the training set.

    Returns:
        Pictures, uint8 (H, W, 3). `augmentation` has one row per transform, which is always applied, and a last row for
        all transforms; the unchanged image on the left has the name, and all pictures have `image_size`. `batch` shows
        all images of a batch.
    """
    augment, size = data.augment, data.image_size
    sample = data.dataset("train")[index]
    steps, pictures = deepcopy(augment.steps()), []
    for step in steps:
        step.p = 1.0
    rows = [(type(step).__name__, Augment([step], size, data.resize, data.seed)) for step in steps]
    for title, transform in [*rows, ("all", augment)]:
        pictures.append(titled(resize_sample(sample, size, data.resize)["image"], title, TRUE))
        for epoch in range(DRAWS):
            moved = resize_sample(transform(sample, epoch, index), size, "stretch")
            pictures.append(draw_sample(moved["image"], moved, data.spec, TRUE))
    loader = data.loader("train", training=True)
    batches: Any = loader.dataset
    epoch, indices = next(iter(loader.sampler))
    samples = [batches.sample(epoch, i) for i in indices]
    batch = [draw_sample(sample["image"], sample, data.spec, TRUE) for sample in samples]
    return {"augmentation": grid(pictures, DRAWS + 1), "batch": grid(batch)}


@rank_zero_only
def write_preview(data: VisionDataModule, directory: Path, loggers: Sequence[Logger]) -> None:
    """Writes the pictures of `preview` as PNG files to a directory, and to W&B."""
    for name, picture in preview(data).items():
        with atomic_write(directory / f"{name}.png") as part:
            Image.fromarray(picture).save(part, "PNG")
        log_pictures(loggers, f"preview/{name}", [picture])
