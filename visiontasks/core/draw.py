"""An image and what is known of it, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visiontasks.core.sample import IGNORE_MASK, Sample

TRUE, PREDICTED = (0, 158, 115), (213, 94, 0)  # green and vermilion of Okabe and Ito 2008: told apart by everyone


def draw(
    image: np.ndarray, sample: Sample, class_names: Sequence[str], colour: tuple[int, int, int] = PREDICTED
) -> np.ndarray:
    """Draws a sample or prediction on its image: the mask, the box, and beside it the class with its score.

    Args:
        image: uint8 (H, W, 3), RGB; left as it is.
        sample: Any of `label` (int), `score` (0..1), `bbox` (xyxy in pixels of the image) and `mask` (uint8 (H, W));
            of the mask the classes from 1 on are coloured.
        class_names: Name of every class.
        colour: Of box and caption, RGB.

    Returns:
        uint8 (H, W, 3).
    """
    if "mask" in sample:
        mask = sample["mask"]
        shown = (mask > 0) & (mask != IGNORE_MASK)
        colours = palette()[mask[shown]].astype(np.uint16)
        image = image.copy()
        image[shown] = (image[shown] + colours) // 2
    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture)
    size = max(10, max(picture.size) // 24)
    corner = (0.0, 0.0)
    box = sample.get("bbox")
    if box is not None and np.isfinite(box).all():
        pen.rectangle([float(value) for value in box], outline=colour, width=max(2, size // 8))
        corner = (float(box[0]), max(0.0, float(box[1]) - 1.3 * size))
    if text := caption(sample, class_names):
        font = ImageFont.load_default(size)
        left, top, right, bottom = pen.textbbox(corner, text, font)
        shift = min(0, picture.width - right - 2)
        pen.rectangle([left + shift, top, right + shift + 2, bottom + 2], fill=colour)
        pen.text((corner[0] + shift, corner[1]), text, "white", font)
    return np.asarray(picture)


def caption(sample: Sample, class_names: Sequence[str]) -> str:
    """The name of the class and the score, as far as they are known."""
    label, score = sample.get("label"), sample.get("score")
    known: list[Any] = [] if label is None or label < 0 else [class_names[int(label)]]
    return " ".join(known + ([] if score is None else [f"{float(score):.2f}"]))


@cache
def palette() -> np.ndarray:
    """The colour of each class index in a mask, uint8 (256, 3), RGB: Pascal VOC's, whose bits are the index's."""
    bits = (np.arange(256)[:, None] >> np.arange(9)) & 1  # of an index, the lowest first; the last is always 0
    weights = 1 << np.arange(7, 4, -1)
    return np.stack([bits[:, channel:8:3] @ weights[: len(range(channel, 8, 3))] for channel in range(3)], 1).astype(
        np.uint8
    )


def legend(class_names: Sequence[str], width: int) -> np.ndarray:
    """The name of each class beside its colour, in rows, on white: uint8 (h, width, 3)."""
    font = ImageFont.load_default(14)
    places, x, y = [], 4, 4
    for name in class_names:
        length = 24 + int(font.getlength(name)) + 12
        if x > 4 and x + length > width:
            x, y = 4, y + 22
        places.append((x, y))
        x += length
    picture = Image.new("RGB", (width, y + 22), "white")
    pen = ImageDraw.Draw(picture)
    for (x, y), name, colour in zip(places, class_names, palette().tolist(), strict=False):
        pen.rectangle([x, y, x + 16, y + 16], fill=tuple(colour), outline="black")
        pen.text((x + 22, y), name, "black", font)
    return np.asarray(picture)


def grid(pictures: Sequence[np.ndarray], columns: int = 4, gap: int = 4) -> np.ndarray:
    """Puts pictures of one size, uint8 (H, W, 3), side by side in rows, on white."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet
