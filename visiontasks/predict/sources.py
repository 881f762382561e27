"""Images to predict: from files, folders, patterns, lists, videos and Python objects."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from PIL import Image

from visiontasks.core.depth import GrayRange
from visiontasks.core.errors import InputError
from visiontasks.core.folders import UNREADABLE, walk, with_suffix
from visiontasks.core.headers import choose_page
from visiontasks.core.images import EXTENSIONS, decoding, read_bytes, read_image, read_size, shown, to_rgb
from visiontasks.core.text import decode_text
from visiontasks.predict.video import VIDEOS, frame_count, frames

LISTS = (".txt", ".lst")
ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip")
MANY = 5  # names in a warning
Given = str | Path | Image.Image | np.ndarray


class Source(NamedTuple):
    """An image that can be read.

    Attributes:
        name: Its path, or another name.
        read: Returns uint8 (H, W, 3), RGB, upright, or raises `InputError`. It takes the `gray_range` and `page` of
            `read_image`.
    """

    name: str
    read: Callable[..., np.ndarray]

    @classmethod
    def of(cls, name: str, pixels: Callable[[], np.ndarray]) -> Self:
        """Makes a source of a function that returns 8-bit pixels, which have no `gray_range` or `page`."""
        return cls(name, lambda gray_range=None, page=None: pixels())


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

    `ignored` are the other files of the folders that were given.
    """

    def __init__(self, paths: Iterable[Path], every: int = 1, ignored: Sequence[Skipped] = ()) -> None:
        self.paths, self.every, self.ignored = list(paths), every, ignored

    def __iter__(self) -> Iterator[Source]:
        for path in self.paths:
            if path.suffix.lower() not in VIDEOS:
                yield Source(str(path), partial(read_image, path))
                continue
            try:
                for number, read in frames(path, self.every):
                    yield Source.of(f"{path}#{number:06d}", read)
            except InputError as error:
                yield Source.of(str(path), partial(_raise, error))

    def count(self) -> int | None:
        """Returns the number of images, or None if a video does not say its length."""
        try:
            counts = [frame_count(path, self.every) if path.suffix.lower() in VIDEOS else 1 for path in self.paths]
        except InputError:  # raised when the video is read
            return None
        return None if None in counts else sum(count or 0 for count in counts)

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


def find_sources(arguments: Iterable[str | Path], every: int = 1, missing: bool = False) -> Sources:
    """Finds the images that command-line arguments name.

    An argument is a file; a folder, for all images below it, sorted by name, while a note on stderr names the other
    files, except those whose name begins with a dot; a pattern (`*`, `?`, `[...]`, and `**` for
    folders at any depth), for all matches, sorted; a list (.txt) of one path per line, relative to its folder; or `-`
    for a list on standard input, relative to the working directory.

    Args:
        arguments: Arguments of the command line.
        every: Use every n-th frame of a video.
        missing: Raise the error of a missing file only when it is read.

    Raises:
        InputError: A source does not exist, is no image or has none.
    """
    found: list[Path] = []
    ignored: list[Skipped] = []
    for argument in arguments:
        if str(argument) != "-" and os.path.isdir(argument):
            images, others = _below(Path(argument))
            found += images
            ignored += [Skipped(str(path), InputError(_advice(path))) for path in others]
        else:
            named = _named(argument, missing)
            if not missing:
                _check_named(named)
            found += named
    if ignored:
        names = [shown(Path(one.name).name) for one in ignored[:MANY]] + ["..."] * (len(ignored) > MANY)
        print(f"warning: {len(ignored)} files left out, which are no images: {', '.join(names)}", file=sys.stderr)
    return Sources(found, every, ignored)


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


def _named(argument: str | Path, missing: bool) -> list[Path]:
    """Lists the files that an argument other than a folder names."""
    source = Path(argument)
    if str(argument) == "-":
        return _listed(sys.stdin.buffer.read(), "standard input", Path(), missing)
    if os.path.exists(source) and source.suffix.lower() in LISTS:
        return _listed(read_bytes(source), shown(source), source.parent, missing)
    if os.path.exists(source) or (missing and not has_magic(str(source))):
        return [source]
    matches = [Path(path) for path in sorted(glob(str(argument), recursive=True))]
    if not matches:
        raise InputError(f"{shown(source)}: no such file or folder.")
    files = [path for path in matches if not os.path.isdir(path)]
    if not files:
        raise InputError(f"{argument}: matches only folders. Name a folder itself, or add `/*`.")
    return files


def _check_named(paths: Sequence[Path]) -> None:
    """Raises an InputError that names the files without the suffix of an image or video that are no images either."""
    strange = []
    for path in {*paths} - {*with_suffix(paths, (*EXTENSIONS, *VIDEOS))}:
        try:
            read_size(path)
        except InputError:
            strange.append(path)
    if strange:
        first, *others = sorted(strange, key=str)
        names = [shown(path) for path in others[: MANY - 1]] + ["..."] * (len(others) >= MANY)
        more = f" Neither are {', '.join(names)}." if names else ""
        raise InputError(f"{shown(first)}: {_advice(first)}{more}")


def _advice(path: Path) -> str:
    """Says why a file is no image, and what to do."""
    if path.suffix.lower() in ARCHIVES:
        return "an archive, not an image. Unpack it, and give the folder."
    return f"not an image ({', '.join(EXTENSIONS)}). Convert it, or leave it out."


def _below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Lists the images, also those of formats that are not read, and the other files below a folder."""
    files = walk(folder, checked=False)
    images = with_suffix(files, (*EXTENSIONS, *UNREADABLE))
    if not images:
        packed = [shown(path) for path in with_suffix(files, ARCHIVES)[:MANY]]
        more = f" Unpack {', '.join(packed)}." if packed else ""
        raise InputError(f"{shown(folder)}: no images ({', '.join(EXTENSIONS)}) in this folder.{more}")
    return sorted(images, key=str), sorted({*files} - {*images}, key=str)


def _listed(content: bytes, name: str, folder: Path, missing: bool) -> list[Path]:
    found = []
    for number, line in enumerate(decode_text(content, name, "surrogateescape").split("\n"), 1):
        if line.strip():
            path = folder / line.strip()
            if not (missing or os.path.isfile(path)):
                raise InputError(f"{name}, line {number}: no such file: {shown(path)!r}. Expected one path per line.")
            found.append(path)
    if not found:
        raise InputError(f"{name}: empty; expected the path of one image per line.")
    return found
