"""What training will see, as pictures: each augmentation by itself, and a batch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from visiontasks.callbacks.wandb import log_pictures
from visiontasks.core.draw import TRUE, draw, grid
from visiontasks.core.resize import resize_sample
from visiontasks.core.sample import Sample
from visiontasks.data import VisionDataModule
from visiontasks.data.augment import Augment

DRAWS = 5


def preview(data: VisionDataModule, index: int = 0) -> dict[str, np.ndarray]:
    """Draws the augmentation of a training image, and the first training batch, with what is known of them.

    Args:
        data: The data of a config.
        index: Place of the image in the training set.

    Returns:
        Pictures, uint8 (H, W, 3): `augmentation` has a row for each transform, always applied, whose name is on the
        unchanged image at its left, and a last row for all of them, every picture brought to `image_size`; `batch`
        has all images of a batch as they are.
    """
    augment, size = data.augment, data.image_size
    sample, names = data.dataset("train")[index], data.dataset("train").class_names
    rows = [(type(step).__name__, Augment([_always(step)], size, data.resize, data.seed)) for step in augment.steps()]
    pictures = []
    for title, transform in [*rows, ("all", augment)]:
        whole = resize_sample(dict(sample), size, data.resize)
        pictures.append(draw(whole["image"], {"label": 0}, [title], TRUE))
        for epoch in range(DRAWS):
            moved = transform(dict(sample), epoch, index)
            pictures.append(_drawn(resize_sample(moved, size, "stretch"), names))
    batch = next(iter(data.loader("train", training=True)))
    return {
        "augmentation": grid(pictures, DRAWS + 1),
        "batch": grid([_drawn(_sample(batch, i), names) for i in range(len(batch["index"]))]),
    }


@rank_zero_only
def write_preview(data: VisionDataModule, directory: Path, loggers: Sequence[Logger]) -> None:
    """Writes the pictures of `preview` as PNG files into a directory, and to W&B."""
    for name, picture in preview(data).items():
        Image.fromarray(picture).save(directory / f"{name}.png")
        log_pictures(loggers, f"preview/{name}", [picture])


def _always(step: Any) -> Any:
    step = deepcopy(step)
    step.p = 1.0
    return step


def _drawn(sample: Sample, names: Sequence[str]) -> np.ndarray:
    return draw(sample["image"], sample, names, TRUE)


def _sample(batch: dict[str, Any], number: int) -> Sample:
    """One image of a batch with its label, box in pixels, and mask."""
    image = batch["image"][number].permute(1, 2, 0).numpy()
    sample: Sample = {"image": image}
    for key in ("label", "bbox", "mask"):
        if key in batch:
            sample[key] = batch[key][number].numpy()
    if "bbox" in sample:
        height, width = image.shape[:2]
        sample["bbox"] = sample["bbox"] * [width, height, width, height]
    return sample
