"""Images with a mask each: in two folders, or under two kinds of names."""

import re
from collections import Counter, defaultdict
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.data.layouts.base import Layout, Listing, counted, joined, listed
from visiontasks.data.layouts.names import named_colors, names_beside
from visiontasks.data.masks import read_values
from visiontasks.data.splits import without_split

SEPARATOR = re.compile(r"(?<=[^_.\- ])(?=[_.\- ])|(?<=[_.\- ])(?=[^_.\- ])")
JOINED = re.compile(r"(train|val|test)(?=annot|mask|label|gt|seg)", re.IGNORECASE)  # such as trainannot
WORD = re.compile(r"mask|label|seg|annot|ground|gt|manual|matte|trimap", re.IGNORECASE)
SHARE = 0.9  # of the files of a kind that must have a partner
SAMPLE, MOST_VALUES = 1000, 64  # masks that are read, and values or colors that they may have
MOST_KINDS = 8  # a rest that more kinds share says nothing


class Kind(NamedTuple):
    """What the names of one kind of files share: folder, start, end and extension, `{split}` for the split."""

    folder: str
    start: str
    end: str
    extension: str


class Codes(NamedTuple):
    """The values of the pixels of masks, or their colors as numbers, with how many pixels have each."""

    counts: Counter[int]
    by_color: bool


def find_masks(files: Listing) -> Layout | None:
    """Recognizes pairs of files whose names differ in folder, start or end alone, and of which one kind is masks."""
    for pair in _pairs(files):
        found = {kind: codes for kind in pair if (codes := _codes(files, kind))}
        if len(found) == 2:  # drawings, or images of few values
            found = {kind: codes for kind, codes in found.items() if WORD.search(joined(*kind[:3]))}
        if len(found) == 1:
            ((masks, codes),) = found.items()
            (images,) = {*pair} - {masks}
            return _layout(files, images, masks, codes)
    return None


def _pairs(files: Listing) -> list[tuple[Kind, Kind]]:
    """Returns the pairs of kinds that share the rest of their names, those with most files first."""
    by_rest: dict[tuple[str, str], set[Kind]] = defaultdict(set)
    sizes: Counter[Kind] = Counter()
    for name in files.images:
        for rest, kind in _kinds(name):
            by_rest[rest].add(kind)
            sizes[kind] += 1
    counts: Counter[tuple[Kind, Kind]] = Counter()
    for kinds in by_rest.values():
        if 1 < len(kinds) <= MOST_KINDS:
            counts.update(combinations(sorted(kinds), 2))
    whole = [pair for pair, count in counts.items() if count >= max(2, SHARE * _larger(pair, sizes))]
    return sorted(whole, key=lambda pair: (-counts[pair], *_complexity(pair)))


def _complexity(pair: tuple[Kind, Kind]) -> tuple[int, int]:
    """Returns how many starts and ends the names have, and minus their length: `_mask` is better than `mask`."""
    ends = [end for kind in pair for end in (kind.start, kind.end) if end]
    return len(ends), -sum(map(len, ends))


def _larger(pair: tuple[Kind, Kind], sizes: Counter[Kind]) -> int:
    """Returns the number of files of the larger kind; `a_mask` is also of the kind that has any end."""
    first, second = pair
    one, other = sizes[first], sizes[second]
    if first._replace(start="", end="") == second._replace(start="", end=""):
        one, other = (one - other, other) if first == first._replace(start="", end="") else (one, other - one)
    return max(one, other)


def _kinds(name: str) -> list[tuple[tuple[str, str], Kind]]:
    """Returns the ways to see a file as one of a kind: the rest of its name with the split, and the kind."""
    folder, _, file = name.rpartition("/")
    stem, _, extension = file.rpartition(".")
    cuts = [place.start() for place in SEPARATOR.finditer(stem)]
    ways = [
        (stem, "", ""),
        *((stem[:cut], "", stem[cut:]) for cut in cuts),
        *((stem[cut:], stem[:cut], "") for cut in cuts),
    ]
    top, _, below = folder.partition("/")
    found = []
    for above, inner in {(folder, ""), (top, below)}:
        pattern, split = without_split(above)
        if split is None and (word := JOINED.search(above)):
            pattern, split = above.replace(word[0], "{split}"), word[0].lower()
        found += [((split or "", joined(inner, rest)), Kind(pattern, *way, extension)) for rest, *way in ways]
    return found


def _codes(files: Listing, kind: Kind) -> Codes | None:
    """Reads some files of a kind as masks; None if they are not."""
    names = [name for name in files.images if any(one == kind for _, one in _kinds(name))]
    few = [names[place] for place in np.linspace(0, len(names) - 1, min(SAMPLE, len(names))).astype(int)]
    for by_color in (False, True):
        counts: Counter[int] = Counter()
        try:
            for name in few:
                values, found = np.unique(read_values(files.path(name), by_color), return_counts=True)
                if len(values) > MOST_VALUES:
                    return None
                counts.update(dict(zip(values.tolist(), found.tolist(), strict=True)))
        except InputError:  # colors, or no mask
            continue
        return Codes(counts, by_color) if 1 < len(counts) <= MOST_VALUES else None
    return None


def _layout(files: Listing, images: Kind, masks: Kind, codes: Codes) -> Layout:
    count = sum(one == images for name in files.images for _, one in _kinds(name))
    options: dict[str, Any] = {"root": str(files.root)}
    if images.start or images.end or masks.start or masks.end or images.folder == masks.folder:
        options |= {key: _pattern(kind) for key, kind in (("images", images), ("masks", masks))}
    else:
        options |= {"images": images.folder or ".", "masks": masks.folder or "."}
    coded, notes = _coded_by_color(files, codes) if codes.by_color else _coded_by_value(files, codes)
    what = f"{counted(count, 'pair')} of an image, {_pattern(images)}, and a mask, {_pattern(masks)}"
    found = f"masks: {what}; {counted(len(coded['class_names']), 'class')} ({listed(coded['class_names'])})"
    return Layout("mask", "MaskFolder", options | coded, found, "likely", notes)


def _pattern(kind: Kind) -> str:
    return joined(kind.folder, f"{kind.start}{{stem}}{kind.end}.{kind.extension}")


def _coded_by_value(files: Listing, codes: Codes) -> tuple[dict[str, Any], list[str]]:
    """Returns the classes of masks of values: two are background and foreground, the smaller value the background."""
    values = sorted(codes.counts)
    ignored = [255] if len(values) > 2 and values[-1] == 255 else []
    used = [value for value in values if value not in ignored]
    notes = [f"pixels of the value {ignored[0]} do not count"] if ignored else []
    names = {value: f"class_{value}" for value in used}
    if len(used) == 2:
        names = dict(zip(used, ("background", "foreground"), strict=True))
    elif {*used} <= {*(beside := names_beside(files))}:
        names = beside
    else:
        notes.append("no file names the values of the masks: write the names of the classes into class_names")
    are_places = [*names] == [*range(len(names))]
    return {"class_names": [*names.values()], **({} if are_places else {"values": [*names]})}, notes


def _coded_by_color(files: Listing, codes: Codes) -> tuple[dict[str, Any], list[str]]:
    """Returns the classes of colored masks, the most frequent color first if no file names them."""
    named = named_colors(files)
    colors = [[code >> 16, code >> 8 & 255, code & 255] for code, _ in codes.counts.most_common()]
    if {tuple(color) for color in colors} <= {*named}:
        return {"class_names": [*named.values()], "colors": [[*color] for color in named]}, []
    notes = ["no file names the colors of the masks: write the names of the classes into class_names"]
    return {"class_names": ["color_" + "_".join(map(str, color)) for color in colors], "colors": colors}, notes
