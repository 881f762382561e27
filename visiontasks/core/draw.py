"""Drawing of boxes, masks, captions and grids of images."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visiontasks.core.sample import IGNORE_MASK

Color = tuple[int, int, int]  # RGB, 0..255
Place = tuple[float, float, float, float]  # xyxy in pixels
TRUE, PREDICTED = (0, 158, 115), (213, 94, 0)  # green and vermilion of Okabe and Ito 2008, safe for color-blind readers


def enlarged(image: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """Repeats the pixels of an image, uint8 (H, W, 3), so that no side is below `side`, and returns how many times."""
    times = -(-side // min(image.shape[:2]))
    return _repeated(image, times), times


class Canvas:
    """A copy of an RGB image, uint8 (H, W, 3), that target kinds draw on.

    Args:
        image: The image.
        color: Color of boxes and captions.
        times: How many times the image is enlarged; what is drawn on it is in pixels of the original one.
    """

    def __init__(self, image: np.ndarray, color: Color = PREDICTED, times: int = 1) -> None:
        self.color, self._corner, self._times = color, (0.0, 0.0), times
        self._captions: list[str] = []
        self._objects: list[tuple[list[float], str, np.ndarray]] = []  # boxes, captions and colors
        self._image = Image.fromarray(image).convert("RGB")
        self._line = max(10, max(self._image.size) // 24)  # height of a line of text in pixels

    def paint(self, mask: np.ndarray) -> None:
        """Blends the class colors of a mask, uint8 (H, W), into the image, and outlines the region of each class.

        Class 0 is transparent.
        """
        self._blend(np.where(mask == IGNORE_MASK, 0, mask).astype(np.uint8), palette())

    def _blend(self, mask: np.ndarray, colors: np.ndarray) -> None:
        mask, image = _repeated(mask, self._times), np.array(self._image)
        shown = mask > 0
        image[shown] = (image[shown] + colors[mask[shown]].astype(np.uint16)) // 2
        # white beside black is visible on every color
        width = max(1, self._line // 20)
        image[_border(mask, 3 * width)] = 0
        image[_border(mask, width)] = 255
        self._image = Image.fromarray(image)

    def box(self, box: np.ndarray) -> None:
        """Draws a box xyxy in pixels of the image, unless it is NaN, and moves the caption to its corner."""
        if np.isfinite(box).all():
            corners = (np.asarray(box, float) * self._times).tolist()
            ImageDraw.Draw(self._image).rectangle(corners, outline=self.color, width=max(2, self._line // 8))
            self._corner = corners[0], max(0.0, corners[1] - 1.3 * self._line)

    def object(self, box: np.ndarray, label: int, name: str, score: float | None = None, mask: Any = None) -> None:
        """Draws the box xyxy of an object in the color of its class, with a caption beside it.

        Its mask is blended in and outlined. Captions of later objects have the better places.
        """
        color = object_colors()[label]
        if mask is not None:
            self._blend(np.asarray(mask, np.uint8), np.stack([color, color]))
        corners = (np.asarray(box) * self._times).round().tolist()
        width = max(2, self._line // 8)
        ImageDraw.Draw(self._image).rectangle(corners, outline=tuple(color.tolist()), width=width)
        self._objects.append((corners, name if score is None else f"{name} {score:.2f}", color))

    def _caption_objects(self) -> None:
        pen, font = ImageDraw.Draw(self._image), ImageFont.load_default(max(10, self._line * 3 // 4))
        taken: list[Place] = []
        for box, text, color in reversed(self._objects):
            place = self._free_place(box, pen.textbbox((0, 0), text, font), taken)
            taken.append(place)
            pen.rectangle(place, fill=tuple(color.tolist()))
            ink = "black" if color @ (0.299, 0.587, 0.114) > 128 else "white"
            pen.text((place[0] + 1, place[1] + 1), text, ink, font, anchor="lt")

    def _free_place(self, box: list[float], text: Place, taken: Sequence[Place]) -> Place:
        """Returns where the caption of a box hides no other one: above the box, below or in it, else above."""
        width, height = text[2] - text[0] + 2, text[3] - text[1] + 2
        left = max(0.0, min(box[0], self._image.width - width))
        tops = (max(0.0, box[1] - height), min(box[3] + 1, self._image.height - height), box[1], box[3] - height)
        places = [(left, top, left + width, top + height) for top in tops]
        return next((place for place in places if not any(_touch(place, other) for other in taken)), places[0])

    def caption(self, text: str) -> None:
        """Adds text to the caption."""
        self._captions += [text] if text else []

    @property
    def text(self) -> str:
        """The caption."""
        return ", ".join(self._captions)

    def picture(self, caption: bool = True) -> np.ndarray:
        """Returns the picture, uint8 (H, W, 3), with the captions of the objects, and with or without its own."""
        self._caption_objects()
        if caption and (text := self.text):
            pen, font = ImageDraw.Draw(self._image), ImageFont.load_default(self._line)
            left, top, right, bottom = pen.textbbox(self._corner, text, font)
            shift = min(0, self._image.width - right - 2)
            pen.rectangle([left + shift, top, right + shift + 2, bottom + 2], fill=self.color)
            pen.text((self._corner[0] + shift, self._corner[1]), text, "white", font)
        return np.asarray(self._image)


def _repeated(pixels: np.ndarray, times: int) -> np.ndarray:
    return pixels.repeat(times, 0).repeat(times, 1)


def _border(mask: np.ndarray, width: int) -> np.ndarray:
    """Returns lines of a width in pixels between the classes, bool (H, W)."""
    kernel = np.ones((width + 1, width + 1), np.uint8)
    return cv2.dilate(mask, kernel) != cv2.erode(mask, kernel)


def _touch(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def titled(image: np.ndarray, title: str, color: Color = PREDICTED) -> np.ndarray:
    """Returns a copy of an image, uint8 (H, W, 3), with a title in its corner."""
    canvas = Canvas(image, color)
    canvas.caption(title)
    return canvas.picture()


def captioned(
    image: np.ndarray, lines: Sequence[tuple[str, Color]], width: int, frame: Color | None = None
) -> np.ndarray:
    """Scales an image, uint8 (H, W, 3), to a width in pixels, perhaps with a frame, above lines of text on white."""
    height = round(width * image.shape[0] / image.shape[1])
    how = Image.Resampling.NEAREST if width > image.shape[1] else Image.Resampling.BOX
    picture = Image.new("RGB", (width, height + 4 + 15 * len(lines)), "white")
    picture.paste(Image.fromarray(image).resize((width, height), how))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    if frame:
        pen.rectangle((0, 0, width - 1, height - 1), outline=frame, width=4)
    for number, (text, color) in enumerate(lines):
        pen.text((1, height + 2 + 15 * number), shortened(text, width - 2, font), color, font)
    return np.asarray(picture)


def shortened(text: str, width: int, font: Any) -> str:
    """Returns a text that fits into a width in pixels, with dots for its middle if it is longer."""
    short, kept = text, len(text)
    while font.getlength(short) > width and kept > 2:
        kept -= 1
        short = f"{text[: kept - kept // 2]}...{text[-(kept // 2) :]}"
    return short


@cache
def palette() -> np.ndarray:
    """Returns the RGB color of each class index as in Pascal VOC, uint8 (256, 3); its bits are those of the index."""
    bits = (np.arange(256)[:, None] >> np.arange(9)) & 1  # lowest first; the last is always 0
    return (np.array([128, 64, 32]) @ bits.reshape(256, 3, 3)).astype(np.uint8)


def object_colors() -> np.ndarray:
    """Returns the RGB color of each class of objects, uint8 (255, 3); the first of the palette is the background."""
    return palette()[1:]


def legend(names: Sequence[str], width: int, colors: np.ndarray | None = None) -> np.ndarray:
    """Draws the name of each class next to its color (by default of masks), in rows on white: uint8 (h, width, 3)."""
    font = ImageFont.load_default(14)
    places, x, y = [], 4, 4
    for name in names:
        length = 24 + int(font.getlength(name)) + 12
        if x > 4 and x + length > width:
            x, y = 4, y + 22
        places.append((x, y))
        x += length
    picture = Image.new("RGB", (width, y + 22), "white")
    pen = ImageDraw.Draw(picture)
    for (x, y), name, color in zip(places, names, (palette() if colors is None else colors).tolist(), strict=False):
        pen.rectangle([x, y, x + 16, y + 16], fill=tuple(color), outline="black")
        pen.text((x + 22, y), name, "black", font)
    return np.asarray(picture)


def grid(pictures: Sequence[np.ndarray], columns: int = 4, gap: int = 4) -> np.ndarray:
    """Arranges pictures of one size, uint8 (H, W, 3), in rows on white."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet
