"""Images whose file names begin or end with their class."""

import re
from collections import Counter
from collections.abc import Sequence

from visiontasks.data.layouts.base import Layout, Listing, counted, listed, stem
from visiontasks.data.splits import without_split

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
    split_of = {folder: without_split(folder) for folder in files.folders}
    if len({pattern for pattern, _ in split_of.values()}) != 1:
        return None
    of_train = [folder for folder, (_, split) in split_of.items() if split == "train"] or list(split_of)
    names = [stem(name) for folder in of_train for name in files.folders[folder]]
    others = [stem(name) for folder in split_of.keys() - {*of_train} for name in files.folders[folder]]
    for pattern, form in FORMS.items():
        labels = _labels(names, form, pattern)
        if len(labels) < 2 or min(labels.values()) < FEWEST:
            continue
        has_splits = bool(others) and bool(_labels(others, form, pattern))  # those of a competition have no label
        place = split_of[of_train[0]][0] if has_splits else of_train[0]
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
