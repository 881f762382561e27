"""What the page shows of a prediction: the values of the writers' rows, as `showResult` takes them."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from visiontasks.core.geometry import Frame
from visiontasks.core.objects import take
from visiontasks.core.resize import resize_mask
from visiontasks.core.sample import Sample
from visiontasks.targets import names_of, target_kinds
from visiontasks.targets.bbox import CORNERS

PROBABILITY, SHARE = "probability of ", "share of "  # how rows name the values of classes
COARSE = 0.5  # pixels of the shown picture by which an outline may be off

Rows = list[dict[str, Any]]
Size = tuple[int, int]
Names = Sequence[str]


def shown_of(sample: Sample, spec: dict[str, Any], size: Size) -> dict[str, Any]:
    """Returns a prediction as the pages show it; result.js documents its keys.

    Args:
        sample: The prediction, in pixels of the image; masks of objects may be reduced.
        spec: The spec of the model.
        size: Height and width of the picture that is shown, to which a mask is reduced.
    """
    height, width = sample["size"]
    shown: dict[str, Any] = {"size": {"width": width, "height": height}}
    for key, kind in target_kinds().items():
        if key in sample:
            names = names_of(spec, key)
            shown |= SHOWN.get(key, _value)(kind.rows(sample, names), sample, names, size)
    return shown


def _label(rows: Rows, sample: Sample, names: Names, size: Size) -> dict[str, Any]:
    row = rows[0]
    if "probabilities" not in sample:  # the only class of a box
        return {}
    return {"label": row["label"], "score": row["score"], "probabilities": _by_class(row, PROBABILITY, names)}


def _labels(rows: Rows, sample: Sample, names: Names, size: Size) -> dict[str, Any]:
    thresholds = dict(zip(names, sample["labels_thresholds"].tolist(), strict=True))
    return {"labels": _by_class(rows[0], PROBABILITY, names), "thresholds": thresholds}


def _value(rows: Rows, sample: Sample, names: Names, size: Size) -> dict[str, Any]:
    numbers = {name: value for name, value in rows[0].items() if isinstance(value, int | float)}
    return {"value": {name: value for name, value in numbers.items() if np.isfinite(value)}}


def _bbox(rows: Rows, sample: Sample, names: Names, size: Size) -> dict[str, Any]:
    row = rows[0]
    presence = {"presence": row["presence"]} if "presence" in row else {}
    return {"bbox": None if row["xmin"] is None else [row[name] for name in CORNERS], **presence}


def _mask(rows: Rows, sample: Sample, names: Names, size: Size) -> dict[str, Any]:
    height, width = sample["mask"].shape
    small = resize_mask(sample["mask"], Frame(height, width, size))
    mask = {"width": size[1], "height": size[0], "data": _png(small)}
    return {"mask": mask, "shares": _by_class(rows[0], SHARE, names)}


def _objects(rows: Rows, sample: Sample, names: Names, size: Size) -> dict[str, Any]:
    found = take(sample["objects"], sample["objects"]["taken"])
    shown = [{"label": row["label"], "score": row["score"], "bbox": [row[name] for name in CORNERS]} for row in rows]
    for one, mask in zip(shown, found.get("masks", ()), strict=False):
        scale = sample["size"][1] / mask.shape[1], sample["size"][0] / mask.shape[0]
        one["polygon"] = outlines(mask, COARSE * max(1.0, mask.shape[0] / size[0]), scale)
    return {"objects": shown}


SHOWN: dict[str, Callable[[Rows, Sample, Names, Size], dict[str, Any]]] = {
    "label": _label,
    "labels": _labels,
    "bbox": _bbox,
    "mask": _mask,
    "objects": _objects,
}


def outlines(mask: np.ndarray, coarse: float, scale: tuple[float, float] = (1.0, 1.0)) -> list[list[list[float]]]:
    """Returns the outlines of the parts of a mask, bool (H, W), and of their holes, as lists of points x, y in pixels.

    Args:
        mask: The pixels of an object.
        coarse: How far an outline may be off, in pixels of the mask.
        scale: Width and height of the image, divided by those of the mask; the points are in pixels of the image.
    """
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = np.ascontiguousarray(mask[top : top + height, left : left + width], np.uint8)
    found, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    lines = [cv2.approxPolyDP(line, coarse, True)[:, 0] + (left + 0.5, top + 0.5) for line in found]
    return [(line * scale).tolist() for line in lines]


def _by_class(row: dict[str, Any], prefix: str, names: Names) -> dict[str, float]:
    return {name: row[prefix + name] for name in names}


def _png(mask: np.ndarray) -> str:
    """Returns the address of a PNG picture whose gray values are the classes of a mask, uint8 (H, W)."""
    return f"data:image/png;base64,{base64.b64encode(cv2.imencode('.png', mask)[1].tobytes()).decode()}"
