"""Images to predict: from files, videos and Python objects."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from PIL import Image

from visiontasks.core.depth import GrayRange
from visiontasks.core.errors import InputError
from visiontasks.core.headers import choose_page
from visiontasks.core.images import decoding, read_image, read_size, shown, to_rgb
from visiontasks.predict.video import VIDEOS, frame_count, frames

Given = str | Path | Image.Image | np.ndarray


class Source(NamedTuple):
    """An image that can be read.

    Attributes:
        name: Its path, or another name.
        read: Returns uint8 (H, W, 3), RGB, upright, or raises `InputError`. It takes the `gray_range` and `page` of
            `read_image`.
        place: Its path below the given folder, without suffix; empty for what is no file.
    """

    name: str
    read: Callable[..., np.ndarray]
    place: str = ""

    @classmethod
    def of(cls, name: str, pixels: Callable[[], np.ndarray], place: str = "") -> Self:
        """Makes a source of a function that returns 8-bit pixels, which have no `gray_range` or `page`."""
        return cls(name, lambda gray_range=None, page=None: pixels(), place)


class Skipped(NamedTuple):
    """The name of an image that was left out, and the reason."""

    name: str
    reason: InputError


class Unreadable(InputError):
    """An image to predict cannot be read; `skipped` has its name and the reason."""

    def __init__(self, skipped: Skipped) -> None:
        super().__init__(str(skipped.reason))
        self.skipped = skipped


class Sources:
    """Images and every n-th frame of videos, in the given order; videos are decoded during the iteration.

    `ignored` are the other files of the folders that were given, and `folders` those from which `place` counts.
    """

    def __init__(
        self, paths: Iterable[Path], every: int = 1, ignored: Sequence[Skipped] = (), folders: Sequence[Path] = ()
    ) -> None:
        self.paths, self.every, self.ignored, self.folders = list(paths), every, ignored, folders

    def __iter__(self) -> Iterator[Source]:
        for path in self.paths:
            if path.suffix.lower() not in VIDEOS:
                yield Source(str(path), partial(read_image, path), self.place(path))
                continue
            try:
                for number, read in frames(path, self.every):
                    yield Source.of(f"{path}#{number:06d}", read, f"{self.place(path)}#{number:06d}")
            except InputError as error:
                yield Source.of(str(path), partial(_raise, error))

    def count(self) -> int | None:
        """Returns the number of images, or None if a video does not say its length."""
        try:
            counts = [frame_count(path, self.every) if path.suffix.lower() in VIDEOS else 1 for path in self.paths]
        except InputError:  # raised when the video is read
            return None
        return None if None in counts else sum(count or 0 for count in counts)

    def place(self, path: Path) -> str:
        """Returns the path of a file below the first given folder that holds it, without suffix; else its name."""
        below = (os.path.relpath(path, folder) for folder in self.folders)
        return (
            Path(next((place for place in below if not place.startswith("..")), path.name)).with_suffix("").as_posix()
        )

    def places(self) -> list[str]:
        """Returns the `place` of each file; raises an InputError if two files have the same."""
        found: dict[str, Path] = {}
        for path in self.paths:
            if (other := found.setdefault(self.place(path), path)) is not path:
                names = f"{shown(other)} and {shown(path)}"
                raise InputError(f"--keep_names: {names} would get the same name. Predict them into separate folders.")
        return list(found)

    def unreadable_after(self, name: str, page: int | None = None) -> list[Skipped]:
        """Returns the images after the one of this name that cannot be read, as far as their headers show it."""
        names = [str(path) for path in self.paths]
        start = names.index(name) + 1 if name in names else 0  # a frame of a video has a name of its own
        found = []
        for path in dict.fromkeys(self.paths[start:]):
            if path.suffix.lower() not in VIDEOS and str(path) != name:
                try:
                    read_size(path, page)
                except InputError as error:
                    found.append(Skipped(str(path), error))
        return found


def given_sources(images: Given | Iterable[Given]) -> Iterator[Source]:
    """Yields the sources of one or more paths, Pillow images, or uint8 arrays (H, W, 3) in RGB."""
    if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    for number, image in enumerate(images):
        if isinstance(image, str | Path):
            yield Source(str(image), partial(read_image, image))
        elif isinstance(image, Image.Image):
            yield Source(f"image {number}", partial(_converted, image, f"image {number}"))
        else:
            yield Source.of(f"image {number}", partial(_checked, image, f"image {number}"))


def _raise(error: InputError) -> np.ndarray:
    raise error


def _converted(
    image: Image.Image, name: str, gray_range: GrayRange | None = None, page: int | None = None
) -> np.ndarray:
    """Converts a Pillow image at the page that its owner chose."""
    with decoding(name):
        if page is None:
            choose_page(image, name, None)  # says that there are more
        return to_rgb(image, gray_range)


def _checked(image: np.ndarray, name: str) -> np.ndarray:
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        what = f"{image.dtype} {image.shape}" if is_array else type(image).__name__
        raise InputError(f"{name}: expected a path, a Pillow image or an array, uint8 (H, W, 3); found {what}.")
    return image
