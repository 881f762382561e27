"""Images in one folder per class."""

from os.path import commonpath
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse, refuse_each
from visiontasks.core.folders import entries, walk, with_suffix
from visiontasks.core.images import EXTENSIONS
from visiontasks.core.text import normal
from visiontasks.data.datasets.base import FileSet, check_class_names, kept_classes
from visiontasks.data.datasets.copies import divide
from visiontasks.data.splits import (
    SPLITS,
    Splits,
    SplitsLike,
    alike_but_split,
    find_part,
    split_of,
    split_paths,
    without_split,
)

Samples = list[tuple[Path, int]]  # images and the indices of their classes


class ImageFolder(FileSet):
    """Images in one folder per class.

    The folders are `root/<split>/<class>/**` for train, val and test, also spelled Training, valid, test_set ..., or
    `root/<class>/**` divided by `splits`; without a folder for val, `splits` divides train. Hidden files and folders
    are left out, links are followed. Errors are fewer than two classes, a class without images, a class in val or test
    that train does not have, and a file without an image extension, because it is usually a mistake.

    A folder with the name of a split is a split if it holds folders. If it holds images, as two or more other folders
    beside it do, it is a class, such as train beside bus and car, and a warning says so. What may be both is an error;
    `keep` decides it, if it names folders of `root`.

    Args:
        split: train, val or test.
        root: Folder of the dataset; if its splits have other names, such as seg_train, with `{split}`: `seg_{split}`.
        splits: How a folder without `train` or `val` is divided; folds use the string order of the paths.
        keep: If given, the classes to use and their order; images of other classes are left out and counted.
    """

    def __init__(self, split: str, root: str, splits: SplitsLike = Splits(), keep: list[str] | None = None) -> None:
        named = split_paths(root)
        self.root = Path(commonpath(named.values())) if named else Path(root)
        if not self.root.is_dir():
            raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold one folder per class.")
        parts = named or _parts(self.root, split, keep or [])
        self._classes = _class_folders(parts.get("train", self.root))
        self.class_names, self._keeps = kept_classes(keep, list(self._classes), fewest=2), keep is not None
        part, divider = find_part(split, splits, parts, root)
        samples = self._list(parts.get(part, self.root), every_class=part == "train")
        if divider:
            samples.sort(key=lambda sample: str(sample[0]))
            paths, labels = [path for path, _ in samples], [label for _, label in samples]
            samples = [samples[i] for i in divide(split, divider, paths, labels)]
        self.paths, self._labels = [path for path, _ in samples], [label for _, label in samples]

    def target(self, index: int) -> dict[str, Any]:
        return {"label": self._labels[index]}

    def _list(self, folder: Path, every_class: bool) -> Samples:
        classes = self._classes if every_class else _class_folders(folder, fewest=0)
        if others := [folder for name, folder in classes.items() if name not in self.class_names and self._keeps]:
            count = sum(len(with_suffix(walk(other), EXTENSIONS)) for other in others)
            few = ", ".join(other.name for other in others[:3]) + (", ..." if len(others) > 3 else "")
            rank_zero_info(f"{folder}: {count} images of {len(others)} other classes are left out: {few}")
        if unknown := [name for name in classes if name not in self._classes and not self._keeps]:
            fault = f"is not in train, which has {self.class_names}. Rename or remove the folder, or add it to train."
            texts = [(classes[name], f"{classes[name]}: class {name!r} {fault}") for name in unknown]
            refuse_each("class", texts, texts[0][1])
        samples = []
        for label, name in enumerate(self.class_names):
            found = _images(classes[name]) if name in classes else []
            if every_class and not found:  # a rare class may be missing from val and test
                error = InputError(f"{classes[name]}: no images in this class ({', '.join(EXTENSIONS)}).")
                refuse("empty", classes[name], error)
            samples += [(path, label) for path in found]
        if not samples:
            raise InputError(f"{folder}: no images ({', '.join(EXTENSIONS)}) in its class folders.")
        return samples


def _parts(root: Path, split: str, keep: list[str]) -> dict[str, Path]:
    """Returns the folders of the splits; none if the folders are classes."""
    parts: dict[str, Path] = {}
    others = []
    for name in entries(root)[0]:
        if (part := split_of(name)) is None:
            others.append(name)
        elif part in parts:
            raise InputError(f"{root}: {parts[part].name}/ and {name}/ are both {part}. Rename or join them.")
        else:
            parts[part] = root / name
    if parts and others and _are_classes(root, parts, others, keep, split):
        return {}
    if not parts and (alike := alike_but_split(others)):
        advice = f"Set `root: {root / without_split(alike[0])[0]}`, or rename them to train, val or test."
        raise InputError(f"{root}: {' and '.join(alike)} look like splits. {advice}")
    if parts and "train" not in parts:
        present = next(parts[name].name for name in SPLITS if name in parts)
        if others and not {path.name for path in parts.values()} & {*SPLITS}:
            return {}  # classes, such as valid and invalid
        raise InputError(f"{root}: has {present}/ but no train/. Add train/, or leave only class folders.")
    if parts and others and split == "train":
        rank_zero_warn(f"{root}: {len(others)} folders are not used, because they are no split: {others[:3]}.")
    return parts


def _are_classes(root: Path, parts: dict[str, Path], others: list[str], keep: list[str], split: str) -> bool:
    """Returns whether folders that are named like splits are classes, as the others beside them; see `ImageFolder`."""
    named = [path.name for path in parts.values()]
    have = {name for name in (*named, *others) if with_suffix(map(Path, entries(root / name, False)[1]), EXTENSIONS)}
    only_train = [*parts] == ["train"] and len(others) > 1 and not have.intersection(named)
    if not have.issuperset(others) or not (have.issuperset(named) or only_train):
        return False
    kept_here = bool(keep) and {*map(normal, (*named, *others))}.issuperset(keep)
    if kept_here or (keep and only_train):
        return kept_here
    if only_train or len(named) > 1 or (len(others) == 1 and named[0] in SPLITS):
        names = " and ".join(f"{name}/" for name in named)
        fault = f"{names} may be a split or a class, like {others[:3]}, which hold images"
        raise InputError(f"{root}: {fault}. Move the other folders away, or name the classes in `keep`.")
    if split == "train":
        rank_zero_warn(f"{root}: {named[0]}/ holds images, as the other folders do, so it is a class, not a split.")
    return True


def _class_folders(folder: Path, fewest: int = 2) -> dict[str, Path]:
    """Returns the folders of the classes by their names, in the order of the folders."""
    folders, files = entries(folder)
    if strays := with_suffix(map(Path, files), EXTENSIONS):
        fault = "an image outside the class folders. Move it into that of its class."
        texts = [(folder / stray, f"{folder / stray}: {fault}") for stray in strays]
        refuse_each("annotation", texts, texts[0][1])
    found: dict[str, Path] = {}
    for name in folders:
        if (twin := found.setdefault(normal(name), folder / name)).name != name:
            fault = f"{folder / name}: its name is that of {twin.name!r}, written in another way. Join them."
            refuse("class", folder / name, InputError(fault))
    check_class_names(list(found), str(folder), fewest)
    return found


def _images(folder: Path) -> list[Path]:
    found = walk(folder)
    images = with_suffix(found, EXTENSIONS)
    for stray in sorted(set(found) - set(images)) if images else ():
        refuse("file", stray, InputError(f"{stray}: not an image ({', '.join(EXTENSIONS)}). Move it elsewhere."))
    return images
