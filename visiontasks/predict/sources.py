"""What a model is asked about: images one after the other, from files, folders, patterns, lists and videos."""

import os
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.core.images import EXTENSIONS, read_bytes, read_image, shown, to_rgb
from visiontasks.predict.video import VIDEOS, frame_count, frames

LISTS = (".txt", ".lst")
Given = str | Path | Image.Image | np.ndarray


class Source(NamedTuple):
    """An image that can be read.

    Attributes:
        name: Its path, or what else it is called.
        read: Gives uint8 (H, W, 3), RGB, upright; raises `InputError` where it cannot be read.
    """

    name: str
    read: Callable[[], np.ndarray]


class Sources:
    """Images in the order given; a video is read frame by frame while they are gone through.

    Args:
        paths: Files of images and of videos.
        every: Of a video, each n-th frame.
    """

    def __init__(self, paths: Iterable[Path], every: int = 1) -> None:
        self.paths, self.every = list(paths), every

    def __iter__(self) -> Iterator[Source]:
        for path in self.paths:
            if path.suffix.lower() not in VIDEOS:
                yield Source(str(path), partial(read_image, path))
                continue
            try:
                for number, read in frames(path, self.every):
                    yield Source(f"{path}#{number:06d}", read)
            except InputError as error:
                yield Source(str(path), partial(_raise, error))

    def count(self) -> int | None:
        """How many images there are; None where a video does not say how long it is."""
        try:
            counts = [frame_count(path, self.every) if path.suffix.lower() in VIDEOS else 1 for path in self.paths]
        except InputError:  # told when its turn comes
            return None
        return None if None in counts else sum(count or 0 for count in counts)


def find_sources(arguments: Iterable[str | Path], every: int = 1, missing: bool = False) -> Sources:
    """Finds what arguments of a command line stand for.

    A file is itself; a folder all images below it in the order of their names; a pattern (`*`, `?`, `[...]`, and `**`
    for folders at any depth) what fits it in that order; a list (.txt) the paths in its lines, relative to its folder;
    `-` the same from standard input, relative to the working directory.

    Args:
        arguments: Of the command line.
        every: Of a video, each n-th frame.
        missing: What does not exist is an error only when it is its turn to be read.

    Raises:
        InputError: A source does not exist or has no image.
    """
    found: list[Path] = []
    for argument in arguments:
        source = Path(argument)
        if str(argument) == "-":
            found += _listed(sys.stdin.buffer.read(), "standard input", Path(), missing)
        elif os.path.isdir(source):
            found += _below(source)
        elif os.path.exists(source) and source.suffix.lower() in LISTS:
            found += _listed(read_bytes(source), shown(source), source.parent, missing)
        elif os.path.exists(source) or (missing and not has_magic(str(source))):
            found.append(source)
        elif matches := sorted(glob(str(argument), recursive=True)):
            files = [path for path in map(Path, matches) if not os.path.isdir(path)]
            if not files:
                raise InputError(f"{argument}: fits folders alone. Name a folder itself, or add `/*`.")
            found += files
        else:
            raise InputError(f"{shown(source)}: no such file or folder.")
    return Sources(found, every)


def given_sources(images: Given | Iterable[Given]) -> Iterator[Source]:
    """Images as Python has them, one or more: paths, Pillow images, or uint8 arrays (H, W, 3) in RGB."""
    if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    for number, image in enumerate(images):
        if isinstance(image, str | Path):
            yield Source(str(image), partial(read_image, image))
        elif isinstance(image, Image.Image):
            yield Source(f"image {number}", partial(to_rgb, image))
        else:
            yield Source(f"image {number}", partial(_checked, image, f"image {number}"))


def _raise(error: InputError) -> np.ndarray:
    raise error


def _checked(image: np.ndarray, name: str) -> np.ndarray:
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or not image.size
    ):
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"{name}: expected a path, a Pillow image or an array, uint8 (H, W, 3); found {what}.")
    return image


def _below(folder: Path) -> list[Path]:
    """The images of a folder, links followed; of those that lead to one folder, one."""

    def unreadable(error: OSError) -> None:
        raise InputError(f"{shown(error.filename)}: the folder cannot be read ({error.strerror}).")

    found, seen = [], {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        inner = {os.path.realpath(Path(parent, name)): name for name in sorted(folders) if name[0] != "."}
        folders[:] = [name for real, name in inner.items() if real not in seen]
        seen |= inner.keys()
        found += [Path(parent, name) for name in files if name.lower().endswith(EXTENSIONS) and name[0] != "."]
    if not found:
        raise InputError(f"{shown(folder)}: no images ({', '.join(EXTENSIONS)}) in this folder.")
    return sorted(found, key=str)


def _listed(content: bytes, name: str, folder: Path, missing: bool) -> list[Path]:
    """The paths in the lines of a list; names need not be UTF-8."""
    found = []
    for number, line in enumerate(content.removeprefix(BOM_UTF8).splitlines(), 1):
        if line.strip():
            path = folder / os.fsdecode(line.strip())
            if not (missing or os.path.isfile(path)):
                raise InputError(f"{name}, line {number}: no such file: {shown(path)!r}. Expected a path in each line.")
            found.append(path)
    if not found:
        raise InputError(f"{name}: empty; expected the path of an image in each line.")
    return found
