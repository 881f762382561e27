"""Image files that are byte for byte the same."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.images import shown
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.files import Files
from visiontasks.data.datasets.records import Record
from visiontasks.data.splits import Splits

CONTRADICTION = "Images that are there twice with different labels", "Correct them, or remove the copies."
PART = 512  # bytes at the end and in the middle: at the start, files of one camera are alike


def same_files(files: Sequence[Path], side: Callable[[int], Hashable] = int) -> list[list[int]]:
    """Returns the places of files with the same content: groups of at least two, ascending.

    Only files of equal length are opened, and only those that also share two short parts are read.

    Args:
        files: The files.
        side: The side that a place is on; if given, only groups with places on two sides are looked for.
    """
    names = files.names if isinstance(files, Files) else [os.fspath(file) for file in files]
    try:
        sizes = (isinstance(files, Files) and files.sizes) or [os.stat(name).st_size for name in names]
        groups = _divide([list(range(len(names)))], sizes.__getitem__, side)
        for place in (1, 0.5):
            groups = _divide(groups, lambda i, place=place: _part(names[i], int(place * max(0, sizes[i] - PART))), side)
        groups = _divide(groups, lambda i: _digest(names[i]), side)
    except OSError as error:
        raise InputError(f"{shown(Path(error.filename))}: cannot be read ({error.strerror}).") from None
    return sorted(groups)


def divide(
    split: str,
    splits: Splits,
    files: Sequence[Path],
    labels: Sequence[int],
    groups: Sequence[str] | None = None,
) -> list[int]:
    """Returns the places of a split in `files`, ascending; for train without copies of files that are held out.

    The arguments are those of `Splits.indices` and `without_copies`.
    """
    return without_copies(split, files, splits.indices(split, labels, groups), labels)


def divide_records(split: str, splits: Splits, records: Sequence[Record], names: Sequence[str]) -> list[Record]:
    """Returns the images of a split; for their shares, each has the first class in `names` of its objects, or none."""
    order = {name: number for number, name in enumerate(names)}
    labels = [min((order.get(one.label, -1) for one in image.annotations), default=len(names)) for image in records]
    return [records[place] for place in divide(split, splits, [Path(image.path) for image in records], labels)]


def without_copies(split: str, files: Sequence[Path], chosen: Iterable[int], labels: Sequence[int] = ()) -> list[int]:
    """Returns `chosen`, places in `files`; for train without files that are byte for byte the same as one not chosen.

    The log counts the copies, and those whose `labels` differ; if no file is left, that is an `InputError`.
    """
    chosen = [int(place) for place in chosen]
    if split != "train" or len(chosen) == len(files):
        return chosen
    held_out = set(range(len(files))).difference(chosen)
    groups = same_files(files, held_out.__contains__)
    copies = {place for group in groups for place in group}
    left = [place for place in chosen if place not in copies]
    if count := len(chosen) - len(left):
        rank_zero_info(f"{count} of {len(chosen)} training images left out, the same file as one held out.")
    if labels:
        _warn([group for group in groups if len({labels[place] for place in group}) > 1], files, *CONTRADICTION)
    if not left:
        raise InputError(f"{files[chosen[0]]}: this and every other training image is the same file as one held out.")
    return left


def warn_of_copies(train: VisionDataset, other: VisionDataset, split: str) -> None:
    """Counts images of another split that are in training too, whose figures are too good, and contradicting labels."""
    files = [*train.files(), *other.files()]
    groups, count = same_files(files), len(train.files())
    both = [group for group in groups if group[0] < count <= group[-1]]
    advice = f"The figures of {split} are too good: remove them from one."
    _warn(both, files, f"Images of {split} that are in training too", advice)
    if len(files) == len(train) + len(other):  # not parts of images
        targets = [[(train.target(i) if i < count else other.target(i - count)) for i in group] for group in groups]
        labels = [{target.get("label") for target in group} for group in targets]
        unlike = [group for group, found in zip(groups, labels, strict=True) if len(found) > 1]
        _warn(unlike, files, *CONTRADICTION)


def _warn(groups: list[list[int]], files: Sequence[Path], fault: str, advice: str) -> None:
    if groups:
        few = "; ".join(f"{shown(files[group[0]])} = {shown(files[group[-1]])}" for group in groups[:3])
        rank_zero_warn(f"{fault}: {len(groups)} (by content: {few}{'; ...' if len(groups) > 3 else ''}). {advice}")


def _divide(
    groups: list[list[int]], key: Callable[[int], Hashable], side: Callable[[int], Hashable]
) -> list[list[int]]:
    """Divides groups by a key, and leaves out what is on one side alone then."""
    found = []
    for group in groups:
        parts: dict[Hashable, list[int]] = defaultdict(list)
        for place in group:
            parts[key(place)].append(place)
        found += [part for part in parts.values() if len(part) > 1 and len({*map(side, part)}) > 1]
    return found


def _part(name: str, start: int) -> bytes:
    file = os.open(name, os.O_RDONLY)
    try:
        return os.pread(file, PART, start)
    finally:
        os.close(file)


def _digest(name: str) -> bytes:
    digest = blake2b()
    with open(name, "rb", buffering=0) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.digest()
