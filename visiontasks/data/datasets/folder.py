"""Images in one folder per class."""

import os
from pathlib import Path
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.images import EXTENSIONS
from visiontasks.data.datasets.base import FileSet, check_class_names
from visiontasks.data.splits import SPLITS, MissingSplit, Splits


class ImageFolder(FileSet):
    """Images in one folder per class.

    The folders are `root/<split>/<class>/**` for train, val and optionally test, or `root/<class>/**` divided by
    `splits`. Hidden files and folders are left out. Errors are fewer than two classes, a class without images, a class
    in val or test that train does not have, and a file without an image extension, because it is usually a mistake.

    Args:
        split: train, val or test.
        root: Folder of the dataset.
        splits: How a folder without `train` is divided; folds use the string order of the paths.
    """

    def __init__(self, split: str, root: str, splits: Splits = Splits()) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold one folder per class.")
        train = self.root / "train"
        if train.is_dir():
            self.class_names = _class_names(train)
            folder = self.root / split
            if not folder.is_dir():
                raise MissingSplit(f"{folder}: no such folder; {root} has {_folders(self.root)}.")
            if unknown := [name for name in _folders(folder) if name not in self.class_names]:
                fault = f"class {unknown[0]!r} is not in {train}, which has {self.class_names}"
                advice = "Rename or remove the folder, or add it to train."
                raise InputError(f"{folder / unknown[0]}: {fault}. {advice}")
            splits.log_unused(split, f"{train} is there")
            samples = self._list(folder, every_class=split == "train")
        elif present := [name for name in SPLITS[1:] if (self.root / name).is_dir()]:
            raise InputError(f"{root}: has {present[0]}/ but no train/. Add train/, or leave only class folders.")
        else:
            self.class_names = _class_names(self.root)
            samples = sorted(self._list(self.root, every_class=True), key=lambda sample: str(sample[0]))
            samples = [samples[i] for i in splits.indices(split, [label for _, label in samples])]
        self.paths, self._labels = [path for path, _ in samples], [label for _, label in samples]

    def target(self, index: int) -> dict[str, Any]:
        return {"label": self._labels[index]}

    def _list(self, folder: Path, every_class: bool) -> list[tuple[Path, int]]:
        samples = []
        for label, name in enumerate(self.class_names):
            found = _images(folder / name)
            if every_class and not found:  # a rare class may be missing from val and test
                raise InputError(f"{folder / name}: no images in this class ({', '.join(EXTENSIONS)}).")
            samples += [(path, label) for path in found]
        if not samples:
            raise InputError(f"{folder}: no images ({', '.join(EXTENSIONS)}) in its class folders.")
        return samples


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_names(folder: Path) -> list[str]:
    names = _folders(folder)
    if strays := sorted(path for path in folder.iterdir() if path.name.lower().endswith(EXTENSIONS) and path.is_file()):
        raise InputError(f"{strays[0]}: an image outside the class folders. Move it into the folder of its class.")
    check_class_names(names, str(folder))
    return names


def _images(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(parent, name) for name in sorted(files) if not name.startswith(".") and name != "Thumbs.db"]
        if strays := [path for path in paths if not path.name.lower().endswith(EXTENSIONS)]:
            raise InputError(f"{strays[0]}: not an image ({', '.join(EXTENSIONS)}). Move it elsewhere.")
        found += paths
    return found
