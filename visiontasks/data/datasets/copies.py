"""Image files that are byte for byte the same."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.images import shown

GLIMPSE = 4096  # bytes at the start, in the middle and at the end


def same_files(files: Sequence[Path]) -> list[list[int]]:
    """Returns the places of files with the same content: groups of at least two, ascending.

    Only files of equal length are opened, and only those that also share three short parts are read.
    """
    groups: list[list[int]] = [list(range(len(files)))]
    try:
        for key in (os.path.getsize, _glimpse, _digest):
            groups = [part for group in groups for part in _divide(group, files, key)]
    except OSError as error:
        raise InputError(f"{shown(error.filename)}: cannot be read ({error.strerror}).") from None
    return sorted(groups)


def without_copies(split: str, files: Sequence[Path], chosen: Iterable[int]) -> list[int]:
    """Returns `chosen`, places in `files`; for train without files that are byte for byte the same as one not chosen.

    The log counts the copies; if no file is left, that is an `InputError`.
    """
    chosen = [int(place) for place in chosen]
    if split != "train" or len(chosen) == len(files):
        return chosen
    held_out = set(range(len(files))).difference(chosen)
    copies = {place for group in same_files(files) if not held_out.isdisjoint(group) for place in group}
    left = [place for place in chosen if place not in copies]
    if count := len(chosen) - len(left):
        rank_zero_info(f"{count} of {len(chosen)} training images left out, the same file as one held out.")
    if not left:
        raise InputError(f"{files[chosen[0]]}: this and every other training image is the same file as one held out.")
    return left


def _divide(group: list[int], files: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[int]]:
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for place in group:
        parts[key(files[place])].append(place)
    return [part for part in parts.values() if len(part) > 1]


def _glimpse(path: Path) -> bytes:
    size = os.path.getsize(path)
    with path.open("rb", buffering=0) as file:
        parts = []
        for start in (0, size // 2, max(0, size - GLIMPSE)):
            file.seek(start)
            parts.append(file.read(GLIMPSE))
    return blake2b(b"".join(parts)).digest()


def _digest(path: Path) -> bytes:
    digest = blake2b()
    with path.open("rb", buffering=0) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.digest()
