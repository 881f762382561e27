"""What target kinds draw on an image, recorded so that a page can switch it on and off."""

import base64
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from PIL import Image

from visiontasks.core.draw import Canvas, palette
from visiontasks.core.sample import COMMON_KEYS, IGNORE_MASK, Sample
from visiontasks.targets import find_target, names_of, target_kinds
from visiontasks.targets.sample import draw_on

LONGEST, NAMED = 320, 4  # pixels of the longer side of a mask, classes of a mask in words


class Layer(Canvas):
    """A canvas that records boxes, outlines, a mask and text in place of drawing them.

    Attributes:
        boxes: One per box: xmin, ymin, xmax, ymax in pixels of the image, and its caption.
        shapes: Outlines of objects, as paths of SVG in pixels of the image.
        mask: The address of a PNG picture of the size of the image or smaller; empty if there is none.
        texts: The captions.
        names: The class of each object, without its score.
    """

    def __init__(self) -> None:
        self.boxes: list[list[Any]] = []
        self.shapes: list[str] = []
        self.mask = ""
        self.texts: list[str] = []
        self.names: list[str] = []

    @classmethod
    def of(cls, sample: Sample, spec: dict[str, Any]) -> "Layer":
        """Records a truth or a prediction, whose values are in pixels of the image."""
        draw_on(layer := cls(), sample, spec)
        layer.texts += [text for key, value in sample.items() if (text := _shares(key, value, spec))]
        return layer

    def paint(self, mask: np.ndarray) -> None:
        self.mask = mask_picture(mask)

    def box(self, box: np.ndarray) -> None:
        if np.isfinite(box).all():
            self.boxes.append([*_rounded(box), ""])

    def object(self, box: np.ndarray, label: int, name: str, score: float | None = None, mask: Any = None) -> None:
        self.boxes.append([*_rounded(box), name if score is None else f"{name} {score:.2f}"])
        self.names.append(name)
        if mask is not None:
            self.shapes.append(outline(mask))

    def caption(self, text: str) -> None:
        self.texts += [text] if text else []

    @property
    def text(self) -> str:
        """What the layer says in words; objects are counted."""
        counted = [f"{self.names.count(name)} {name}" for name in dict.fromkeys(self.names)]
        return ", ".join([*self.texts, *counted])

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain values, without what is empty."""
        parts = {"boxes": self.boxes, "shapes": self.shapes, "mask": self.mask, "text": self.text}
        return {name: part for name, part in parts.items() if part}


class TrueBoxes(Canvas):
    """A canvas that records the boxes, float xyxy in pixels of the image, and nothing else."""

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []

    def paint(self, mask: np.ndarray) -> None:
        pass

    def box(self, box: np.ndarray) -> None:
        self.boxes += [np.asarray(box, float)] if np.isfinite(box).all() else []

    def object(self, box: np.ndarray, label: int, name: str, score: float | None = None, mask: Any = None) -> None:
        self.boxes.append(np.asarray(box, float))

    def caption(self, text: str) -> None:
        pass


def difference(truth: Sample, prediction: Sample) -> Layer | None:
    """Records the pixels whose class is wrong, or returns None if no class of pixels is both known and predicted."""
    layer = Layer()
    for key in prediction.keys() & truth.keys() & target_kinds().keys():
        if find_target(key).dense:
            wrong = (truth[key] != prediction[key]) & (truth[key] != IGNORE_MASK)
            layer.mask = mask_picture(wrong.astype(np.uint8), np.array([[0, 0, 0], [255, 0, 120]], np.uint8))
    return layer if layer.mask else None


def mask_picture(mask: np.ndarray, colors: np.ndarray | None = None) -> str:
    """Returns the classes of a mask, uint8 (H, W), as the address of a PNG picture; class 0 and 255 are transparent.

    Args:
        mask: The classes.
        colors: RGB color of each class, uint8 (classes, 3); by default those of `palette`.
    """
    height, width = mask.shape
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    classes = np.where(small == IGNORE_MASK, 0, small).astype(np.uint8)
    drawn, data = Image.fromarray(classes, "P"), BytesIO()
    known = (palette() if colors is None else colors)[: int(classes.max()) + 1]  # few colors take few bits per pixel
    drawn.putpalette(known.astype(np.uint8).tobytes())
    drawn.save(data, "PNG", transparency=0)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def outline(mask: np.ndarray) -> str:
    """Returns the borders of an object, bool (H, W), as a path of SVG."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    return "".join(f"M{' '.join(f'{x},{y}' for x, y in part.reshape(-1, 2).tolist())}Z" for part in found)


def _shares(key: str, value: Any, spec: dict[str, Any]) -> str:
    """Returns the classes that cover most pixels of a mask, without the first one; empty for what is no mask."""
    if key in COMMON_KEYS or key not in target_kinds() or not find_target(key).dense:
        return ""
    names = names_of(spec, key)
    shares = np.bincount(value.ravel(), minlength=len(names))[: len(names)] / value.size
    order = [place for place in np.argsort(-shares, kind="stable").tolist() if place and shares[place] >= 0.0005]
    return ", ".join(f"{names[place]} {100 * shares[place]:.1f} %" for place in order[:NAMED])


def _rounded(box: np.ndarray) -> list[float]:
    return [round(float(value), 1) for value in box]
