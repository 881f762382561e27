"""One folder of images per class."""

from collections import Counter

from visiontasks.core.words import counted
from visiontasks.data.layouts.base import Layout, Listing, joined, listed
from visiontasks.data.splits import alike_but_split, split_of, without_split

OTHERS = {"images", "imgs", "img", "masks", "labels", "annotations", "jpegimages", "photos"}  # no names of classes


def find_class_folders(files: Listing) -> Layout | None:
    """Recognizes class folders, perhaps in folders of splits, at the highest level where they are."""
    top = ""
    while True:
        inner = _folders(files, top)
        if len(inner) == 1 and not files.folders.get(top):  # a folder around the set
            top = joined(top, next(iter(inner)))
            continue
        break
    parts = {name: split for name in inner if (split := split_of(name))}
    if not parts and (alike := alike_but_split(inner)):
        pattern, classes = _inside(files, top, alike)
        what = f"class folders in {listed(alike)}: {counted(len(classes), 'class')} ({listed(sorted(classes))})"
        return Layout("label", "ImageFolder", {"root": str(files.path(pattern))}, what, "likely")
    classes, splits = Counter[str](), []
    if "train" in parts.values():
        (train,) = [name for name, split in parts.items() if split == "train"][:1]
        classes, splits = _folders(files, joined(top, train)), sorted({*parts.values()})
    if not classes:  # also where train is a class, as beside bus and car
        classes, splits = inner, []
    are_splits = classes is inner and len(parts) == len(inner) and "train" in parts.values()
    if len(classes) < 2 or are_splits or files.folders.get(top) or {name.lower() for name in classes} & OTHERS:
        return None
    where = f" in {' / '.join(splits)}" if splits else ""
    found = f"class folders{where}: {counted(len(classes), 'class')} ({listed(sorted(classes))})"
    return Layout("label", "ImageFolder", {"root": str(files.path(top))}, found, "certain" if splits else "likely")


def _inside(files: Listing, top: str, alike: list[str]) -> tuple[str, Counter[str]]:
    """Returns the folder of a split, with `{split}`, that has the classes, such as seg_{split}/seg_{split}."""
    folder = joined(top, alike[0])
    pattern, classes = joined(top, without_split(alike[0])[0]), _folders(files, folder)
    while len(classes) == 1:
        (name,) = classes
        folder, pattern = joined(folder, name), joined(pattern, without_split(name)[0])
        classes = _folders(files, folder)
    return pattern, classes


def _folders(files: Listing, top: str) -> Counter[str]:
    """Counts the images below each folder in a folder."""
    above = f"{top}/" if top else ""
    found: Counter[str] = Counter()
    for folder, names in files.folders.items():
        if folder.startswith(above) and folder != top:
            found[folder[len(above) :].partition("/")[0]] += len(names)
    return found
