"""The images to predict that the arguments of a command name."""

import os
import sys
from collections.abc import Iterable, Sequence
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.core.folders import UNREADABLE, walk, with_suffix
from visiontasks.core.images import EXTENSIONS, read_bytes, read_size, shown
from visiontasks.core.text import decode_text
from visiontasks.core.words import counted
from visiontasks.predict.sources import Skipped, Sources
from visiontasks.predict.video import VIDEOS

LISTS = (".txt", ".lst")
ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip")
MANY = 5  # names in a warning


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
    arguments, found = list(arguments), list[Path]()
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
        what = f"{counted(len(ignored), 'file')} left out, no {'image' if len(ignored) == 1 else 'images'}"
        print(f"warning: {what}: {', '.join(names)}", file=sys.stderr)
    return Sources(found, every, ignored, [_folder(Path(argument)) for argument in arguments])


def _folder(argument: Path) -> Path:
    """Returns a folder that is given, or the part of another argument that names a folder: of a list, of a pattern."""
    if os.path.isdir(argument):
        return argument
    fixed = takewhile(lambda folder: not has_magic(folder.name), [*reversed(argument.parents)])
    return argument.parent if os.path.exists(argument) else [Path(), *fixed][-1]


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
