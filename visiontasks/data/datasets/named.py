"""Images whose file names say their class."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse_each, usable
from visiontasks.core.folders import images_below
from visiontasks.core.text import normal
from visiontasks.data.datasets.base import FileSet, check_class_names, kept_classes
from visiontasks.data.datasets.copies import divide
from visiontasks.data.splits import Splits, SplitsLike, find_part, split_path, split_paths

FIELDS = {"{label}": "(?P<label>.+)", "{number}": "[0-9]+", "*": ".*"}


class NamedFiles(FileSet):
    """Images below a folder, whose file names have the class in them, such as `cat.12.jpg` or `Abyssinian_7.jpg`.

    The classes are the labels that occur (in train), sorted.

    Args:
        split: train, val or test.
        root: Folder of the images; `{split}` in it stands for the split.
        pattern: Form of the names without folder and extension: `{label}` is the class, `{number}` are digits, `*` is
            anything; for example `{label}_{number}`. A name of another form is an error.
        splits: How a folder without splits, or train without val, is divided.
        keep: If given, the classes to use and their order; images of other classes are left out.
    """

    def __init__(
        self, split: str, root: str, pattern: str, splits: SplitsLike = Splits(), keep: list[str] | None = None
    ) -> None:
        parts = split_paths(root)
        part, divider = find_part(split, splits, parts, root)
        self.root = split_path(root, part)
        if not self.root.is_dir():
            raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold images.")
        form = _form(pattern)
        found = _labels(sorted(images_below(self.root), key=str), form, pattern)
        train = found
        if parts and part != "train":
            train = _labels(images_below(parts["train"]), form, pattern)
        names = sorted({*train.values()})
        check_class_names(names, root)
        self.class_names = kept_classes(keep, names, fewest=2)
        unknown = sorted((label, path) for path, label in found.items() if label not in names)
        texts = [(path, f"class {label!r} is not in train, which has {names}.") for label, path in unknown]
        refuse_each("class", texts, f"{self.root}: {texts[0][1]}" if texts else "")
        places = {name: place for place, name in enumerate(self.class_names)}
        self.paths = [path for path, label in found.items() if label in places]
        self._labels = [places[found[path]] for path in self.paths]
        if divider:
            chosen = divide(split, divider, self.paths, self._labels)
            self.paths, self._labels = [self.paths[i] for i in chosen], [self._labels[i] for i in chosen]

    def target(self, index: int) -> dict[str, Any]:
        return {"label": self._labels[index]}


def _form(pattern: str) -> re.Pattern[str]:
    if pattern.count("{label}") != 1:
        raise InputError(f"pattern: {pattern!r} must have {{label}} once, as in {{label}}_{{number}}.")
    parts = re.split(r"(\{label\}|\{number\}|\*)", pattern)
    return re.compile("".join(FIELDS.get(part, re.escape(part)) for part in parts))


def _labels(paths: Iterable[Path], form: re.Pattern[str], pattern: str) -> dict[Path, str]:
    labels = {path: usable("annotation", path, _label, path, form, pattern) for path in paths}
    return {path: label for path, label in labels.items() if label is not None}


def _label(path: Path, form: re.Pattern[str], pattern: str) -> str:
    if found := form.fullmatch(path.stem):
        return normal(found["label"])
    raise InputError(f"{path}: its name has not the form {pattern!r}. Rename it, move it away, or change `pattern`.")
