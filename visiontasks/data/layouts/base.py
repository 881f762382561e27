"""What a folder holds, and the layouts of data sets that are recognized in it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from os.path import commonpath
from pathlib import Path
from typing import Any, Literal

from visiontasks.core.errors import InputError
from visiontasks.core.folders import walk, with_suffix
from visiontasks.core.images import EXTENSIONS
from visiontasks.core.text import normal, read_text

Certainty = Literal["certain", "likely", "a guess"]
LOOKED_AT = 200  # files or rows of a kind that are opened to recognize it
WORDS = 5  # names that a sentence lists


@dataclass(frozen=True)
class Layout:
    """A data set that was recognized in a folder.

    Attributes:
        kind: Key of its target: label, labels, value, mask or objects.
        dataset: Name of the dataset class.
        options: Arguments of the class beside the split.
        found: What was recognized, as one sentence without a dot.
        certainty: How sure it is.
        notes: What the user should know or could change: sentences without a dot.
        masks: Whether the objects have pixels too.
    """

    kind: str
    dataset: str
    options: dict[str, Any]
    found: str
    certainty: Certainty
    notes: list[str] = field(default_factory=list)
    masks: bool = False


class Listing:
    """The files below a folder, by their paths relative to it, with slashes.

    Attributes:
        root: The folder.
        names: All files, without what systems leave behind, those of a folder before those of its folders.
        images: The image files among them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = [path.relative_to(root).as_posix() for path in walk(root, checked=False)]
        self.images = [name for name in self.names if name.lower().endswith(EXTENSIONS)]

    def ending(self, *suffixes: str) -> list[str]:
        """Returns the files that end so, in any case."""
        return [path.as_posix() for path in with_suffix(map(Path, self.names), suffixes)]

    def path(self, name: str) -> Path:
        return self.root / name

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """The names of the images in each folder that has any; the folder itself is the empty text."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.images:
            folder, _, file = name.rpartition("/")
            found[folder].append(file)
        return found

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """The images of each file name without folders."""
        return _grouped(self.images, lambda name: normal(name.rpartition("/")[2]))

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """The images of each file name without folders and extension."""
        return _grouped(self.images, lambda name: normal(stem(name)))


def stem(name: str) -> str:
    """Returns the name of a file without its folders and its extension."""
    return name.rpartition("/")[2].rpartition(".")[0]


def above_all(names: Iterable[str]) -> str:
    """Returns the folder that holds all files; empty for the top."""
    return commonpath([name.rpartition("/")[0] or "." for name in names]).removeprefix(".")


def folder_above(files: Listing, names: Iterable[str]) -> str | None:
    """Returns the folder below which most of these names are paths of images; None if they are not."""
    above = []
    for name in (normal(name).replace("\\", "/").removeprefix("./") for name in names):
        known = files.by_name.get(name.rpartition("/")[2], [])
        above += [one[: -len(name)].rstrip("/") for one in known if f"/{one}".endswith(f"/{name}")]
    return most_common(above)


def read_lines(files: Listing, name: str) -> list[str]:
    """Returns the lines of a text file that are not empty; none if it cannot be read."""
    try:
        return [line.strip() for line in read_text(files.path(name)).splitlines() if line.strip()]
    except InputError:
        return []


def joined(*parts: str) -> str:
    """Joins the parts of a path and leaves out empty ones."""
    return "/".join(part for part in parts if part)


def listed(names: Iterable[Any]) -> str:
    """Returns names as a part of a sentence, at most a few of them."""
    names = list(map(str, names))
    return ", ".join(names[:WORDS]) + (f" and {len(names) - WORDS} more" if len(names) > WORDS else "")


def most_common(values: Iterable[Any]) -> Any:
    """Returns the value that occurs most often, the first of equal ones; None if there is none."""
    counted = Counter(values)
    return max(counted, key=lambda value: counted[value]) if counted else None


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[key(name)].append(name)
    return found
