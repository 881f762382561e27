"""Images whose file names begin or end with their class."""

import re
from collections import Counter
from collections.abc import Sequence

from visiontasks.core.words import counted
from visiontasks.data.layouts.base import Layout, Listing, listed, stem
from visiontasks.data.splits import split_of, without_split

FORMS = {  # of the names, and what they look like
    "{label}_{number}": r"(.*[^\d_])_(\d+)",
    "{label}.{number}": r"(.*[^\d.])\.(\d+)",
    "{label}-{number}": r"(.*[^\d-])-(\d+)",
    "{label} {number}": r"(.*[^\d ]) (\d+)",
    "{label} ({number})": r"(.*[^\d ]) \((\d+)\)",
    "{label}{number}": r"(.*[^\d_. -])(\d+)",
    "{number}_{label}": r"(\d+)_([^\d].*)",
}
FEWEST = 3  # images of each class


def find_named(files: Listing) -> Layout | None:
    """Recognizes one folder of images, or one per split, whose names are labels with numbers."""
    parts = {folder: without_split(folder) for folder in files.folders}
    are_alike = len({pattern for pattern, _ in parts.values()}) == 1
    of_train = [folder for folder, (_, split) in parts.items() if split == "train"]
    if not are_alike and not (of_train and all(map(split_of, parts))):  # such as train and test1
        return None
    of_train = of_train or [*parts]
    names = [stem(name) for folder in of_train for name in files.folders[folder]]
    others = [stem(name) for folder in parts.keys() - {*of_train} for name in files.folders[folder]]
    for pattern, form in FORMS.items():
        labels = _labels(names, form, pattern)
        if len(labels) < 2 or min(labels.values()) < FEWEST:
            continue
        has_splits = (
            are_alike and bool(others) and bool(_labels(others, form, pattern))
        )  # those of a competition have no label
        place = parts[of_train[0]][0] if has_splits else of_train[0]
        what = f"names such as {names[0]}: {counted(len(labels), 'class')} ({listed(sorted(labels))})"
        options = {"root": str(files.path(place)), "pattern": pattern}
        return Layout("label", "NamedFiles", options, f"classes in file names, {what}", "a guess")
    return None


def _labels(names: Sequence[str], form: str, pattern: str) -> Counter[str]:
    """Counts the labels in names; none if a name has another form."""
    found = [re.fullmatch(form, name) for name in names]
    if not all(found):
        return Counter()
    return Counter(one[2 if pattern.startswith("{number}") else 1] for one in found if one)
