"""All target kinds of a sample at once."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import numpy as np

from visiontasks.core.depth import is_gray_range
from visiontasks.core.draw import PREDICTED, Canvas, Color, enlarged
from visiontasks.core.geometry import Frame, Resize, Size, height_width, is_picture
from visiontasks.core.headers import is_page
from visiontasks.core.resize import resize_image
from visiontasks.core.sample import COMMON_KEYS, Sample
from visiontasks.targets.base import find_target, names_of, target_kinds

Outputs = dict[str, np.ndarray]
"""Post-processed outputs of a batch of pictures, by key, float32 (B, ...): what predictions are built from, identical
in torch and ONNX. The target kind of each key documents its output."""


def is_spec(spec: Any) -> bool:
    """Returns whether a value from a file is a spec, with class names and the size of a picture that fits in memory."""
    if (
        not isinstance(spec, dict)
        or spec.get("resize") not in get_args(Resize)
        or not is_picture(spec.get("image_size"))
    ):
        return False
    share = spec.get("crop_share", 1.0)
    names = [spec.get(kind.names_key) or [] for kind in target_kinds().values()]
    return (
        all(isinstance(one, list | tuple) and all(isinstance(name, str) for name in one) for one in names)
        and type(share) in (int, float)
        and 0 < share <= 1
        and is_gray_range(spec.get("gray_range"))
        and is_page(spec.get("page"))
        and is_picture([int(side / share) for side in height_width(spec["image_size"])])
    )


def targets_of(sample: Sample) -> dict[str, Any]:
    """Returns the targets of a sample, without its image.

    Raises:
        InputError: A key belongs to no target kind.
    """
    targets = {key: value for key, value in sample.items() if key not in COMMON_KEYS}
    for key in targets:
        find_target(key)
    return targets


def resize_sample(sample: Sample, size: Size, mode: Any) -> Sample:
    """Resizes the image of a sample to its picture, and moves its targets with it.

    Raises:
        InputError: The resize cuts a target away.
    """
    frame = Frame(*sample["image"].shape[:2], size, mode)
    moved = {key: find_target(key).resize(value, frame) for key, value in targets_of(sample).items()}
    return {**sample, "image": resize_image(sample["image"], frame), **moved}


def predict_sample(outputs: Outputs, frame: Frame, spec: dict[str, Any]) -> Sample:
    """Makes the prediction of one image from its outputs, each without the axis of the batch.

    Returns:
        `size` (height, width) and what each kind's `prediction` makes, in pixels of the image.
    """
    prediction: Sample = {"size": (frame.height, frame.width)}
    for key, output in outputs.items():
        prediction |= find_target(key).prediction(output, frame, names_of(spec, key))
    return prediction


def predict_samples(outputs: Outputs, sizes: Iterable[Sequence[int]], spec: dict[str, Any]) -> Iterator[Sample]:
    """Makes one prediction per image of a batch; `sizes` are the heights and widths of the images."""
    for number, (height, width) in enumerate(sizes):
        frame = Frame(height, width, spec["image_size"], spec["resize"])
        yield predict_sample({key: output[number] for key, output in outputs.items()}, frame, spec)


def draw_on(canvas: Canvas, sample: Sample, spec: dict[str, Any]) -> None:
    """Draws a sample or prediction, whose values are in pixels of the canvas."""
    for key, kind in reversed(target_kinds().items()):  # boxes over masks, captions beside boxes
        if key in sample:
            kind.draw(canvas, sample, names_of(spec, key))


def draw_sample(
    image: np.ndarray, sample: Sample, spec: dict[str, Any], color: Color = PREDICTED, side: int = 1
) -> np.ndarray:
    """Draws a sample or prediction on a copy of its image, uint8 (H, W, 3).

    Args:
        image: The image.
        sample: Its values are in pixels of the image.
        spec: The spec of the model.
        color: Color of boxes and captions.
        side: Pixels that each side of the picture has at least; a smaller image is enlarged by a whole factor.
    """
    picture, times = enlarged(image, side)
    canvas = Canvas(picture, color, times)
    draw_on(canvas, sample, spec)
    return canvas.picture()


def rows_of(prediction: Sample, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what a table says of a prediction: plain values by column; a name that is taken gets the key added.

    There is one row per object, or one with empty cells if there is none.
    """
    rows: list[dict[str, Any]] = [{}]
    for key, kind in target_kinds().items():
        if key in prediction:
            more = kind.rows(prediction, names_of(spec, key)) or [dict.fromkeys(kind.columns, "")]
            rows = [_joined(row, one, key) for row in rows for one in more]
    return rows


def record_of(prediction: Sample, spec: dict[str, Any]) -> dict[str, Any]:
    """Returns what a JSON object says of a prediction: the values of `rows_of`, with all objects as one list."""
    record: dict[str, Any] = {}
    for key, kind in target_kinds().items():
        if key in prediction:
            rows = kind.rows(prediction, names_of(spec, key))
            record = _joined(record, {key: rows} if kind.columns else rows[0], key)
    return record


def _joined(row: dict[str, Any], more: dict[str, Any], key: str) -> dict[str, Any]:
    return row | {f"{name} ({key})" if name in row else name: value for name, value in more.items()}
