"""Images with a mask each."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_image
from visiontasks.core.words import counted
from visiontasks.data.layouts.base import Layout, Listing, joined, listed, read_lines, stem
from visiontasks.data.layouts.names import named_colors, names_beside
from visiontasks.data.layouts.pairs import Kind, Pair, find_pairs
from visiontasks.data.masks import read_values
from visiontasks.data.splits import without_split

WORD = re.compile(r"mask|label|seg|annot|ground|gt|manual|matte|trimap", re.IGNORECASE)
SAMPLE, SOME, FIRST = 1000, 10, 3  # masks that are read, and those that show whether it is worth it
MOST_PAIRS = 12  # kinds of pairs that are looked at
ALIKE = 0.9  # overlap of masks from which on they say nothing of their images
IN_BINS = 1 << 16  # values below it are counted in bins
IN_ONE, IN_ALL = 64, 256  # values or colors of the pixels of masks
DARK, BRIGHT, CLEAR = 32, 223, 0.97  # soft masks: values of background and foreground, and the share of the two
COUNTS = 3  # different numbers of objects from which on values look like the numbers of objects


class Codes(NamedTuple):
    """How masks are written.

    Attributes:
        counts: How many pixels have each value, or each color as one number.
        how: Whether the pixels are values of classes, `colors`, numbers of `objects`, or `soft`: dark and bright.
        read: How many masks were read.
    """

    counts: Counter[int]
    how: str
    read: int


class Candidate(NamedTuple):
    """A pair of kinds, which of the two has the masks, and whether these are nearly the same in every image."""

    pair: Pair
    place: int
    are_alike: bool

    @property
    def masks(self) -> list[str]:
        return [names[self.place] for names in self.pair.names]


def find_masks(files: Listing) -> Layout | None:
    """Recognizes images whose names have a counterpart among files that are masks."""
    found = _candidates(files)
    for one in sorted(found, key=lambda candidate: candidate.are_alike):
        if codes := _codes(files, one.masks, SAMPLE):
            others = [other for other in found if other.masks[0] != one.masks[0]]
            return _layout(files, one.pair, one.place, codes, _notes(one, codes, others))
    return None


def _candidates(files: Listing) -> list[Candidate]:
    """Returns the pairs that have masks on one side, those with most files first; the first has at most twice the files
    of others."""
    found: list[Candidate] = []
    for pair in find_pairs(files)[:MOST_PAIRS]:
        both = {place: codes for place in (0, 1) if (codes := _codes(files, [one[place] for one in pair.names], SOME))}
        if len(both) == 2:  # drawings, or images of few values
            both = {place: one for place, one in both.items() if WORD.search(joined(*pair.kinds[place][:3]))}
        if len(both) == 1 and len(pair.names) >= 0.5 * len((found[0].pair if found else pair).names):
            ((place, codes),) = both.items()
            masks = [_pixels(files, name, codes.how) for name in _some([one[place] for one in pair.names], SOME)]
            found.append(Candidate(pair, place, _are_alike(masks)))
    return found


def _notes(chosen: Candidate, codes: Codes, others: Sequence[Candidate]) -> list[str]:
    """Returns what the user should know of masks that were not read, and of others."""
    count, notes = len(chosen.pair.names), []
    if codes.read < count:
        few = f"{codes.read:,} of {count:,} masks were read for their values"
        notes.append(f"{few}; a value that only others have is an error in the training that names the file")
    alike, more = ([one.pair.kinds[one.place].pattern for one in others if one.are_alike == same] for same in (1, 0))
    if alike:
        notes.append(f"{listed(alike)}: nearly the same in every image, as a field of view is, and not used")
    if more:
        notes.append(f"{listed(more)} may be masks too; to use them, change `masks` and `class_names`")
    return notes


def _some(names: Sequence[str], most: int) -> list[str]:
    return [names[place] for place in np.linspace(0, len(names) - 1, min(most, len(names))).astype(int)]


def _codes(files: Listing, names: Sequence[str], most: int) -> Codes | None:
    """Reads some files as masks; None if they are not."""
    some = _some(names, most)
    for how in ("values", "colors", "soft"):
        if _read(files, some[:FIRST], how) and (found := _read(files, some, how)):
            return found
    return None


def _read(files: Listing, names: Sequence[str], how: str) -> Codes | None:
    counts: Counter[int] = Counter()
    values: list[set[int]] = []
    for name in names:
        try:
            pixels = _pixels(files, name, how)
        except InputError:  # colors, or no mask
            return None
        found, numbers = _counted(pixels)
        counts.update(dict(zip(found.tolist(), numbers.tolist(), strict=True)))
        values.append({*found.tolist()} - {0})
        if len(found) > IN_ONE or len(counts) > IN_ALL:
            return None
    if len(names) > FIRST and len(counts) < 2:
        return None
    return Codes(counts, "objects" if how == "values" and _are_objects(values) else how, len(names))


def _pixels(files: Listing, name: str, how: str) -> np.ndarray:
    return _soft(files, name) if how == "soft" else read_values(files.path(name), how == "colors")


def _counted(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values and how many pixels have each, int64, as `np.unique` does, which is slower."""
    if pixels.min() < 0 or pixels.max() >= IN_BINS:
        return np.unique(pixels, return_counts=True)
    numbers = np.bincount(pixels.ravel())
    return np.flatnonzero(numbers), numbers[numbers > 0]


def _are_alike(masks: Sequence[np.ndarray]) -> bool:
    """Returns whether masks overlap nearly everywhere, beside their most frequent value."""
    overlaps = []
    for one, other in zip(masks, masks[len(masks) // 2 :], strict=False):  # neighbors may be frames of a video
        if one.shape != other.shape:
            return False
        values, numbers = _counted(one)
        usual = values[numbers.argmax()]
        if (shown := (one != usual) | (other != usual)).any():
            overlaps.append(float((one == other)[shown].mean()))
    return bool(overlaps) and float(np.mean(overlaps)) > ALIKE


def _soft(files: Listing, name: str) -> np.ndarray:
    """Reads a mask with blurred edges, or in a JPEG file, as 0 and 1; raises an InputError for another picture."""
    gray = read_image(files.path(name)).max(2)
    if ((gray < DARK) | (gray > BRIGHT)).mean() < CLEAR:
        raise InputError(f"{name}: not dark and bright alone.")
    return (gray > BRIGHT).astype(int)


def _are_objects(values: Sequence[set[int]]) -> bool:
    """Returns whether values are 1, 2, 3 ... up to a number that differs from image to image."""
    numbers = {len(found) for found in values}
    return len(numbers) >= COUNTS and all(found == {*range(1, len(found) + 1)} for found in values)


def _layout(files: Listing, pair: Pair, place: int, codes: Codes, notes: list[str]) -> Layout:
    images, masks = pair.kinds[1 - place], pair.kinds[place]
    options: dict[str, Any] = {"root": str(files.root), **_places(images, masks), **_lists(files, pair, place)}
    pairs = f"{counted(len(pair.names), 'pair')} of an image, {images.pattern}, and a mask, {masks.pattern}"
    if codes.how == "objects" and not names_beside(files):
        note = "if the values of the masks are classes and not numbers of objects, use MaskFolder with class_names"
        options["class_names"] = ["object"]
        return Layout(
            "objects", "InstanceFolder", options, f"masks of objects: {pairs}", "a guess", [note, *notes], masks=True
        )
    coded, more = {"colors": _by_color, "soft": _by_threshold}.get(codes.how, _by_value)(files, codes)
    found = f"masks: {pairs}; {counted(len(coded['class_names']), 'class')} ({listed(coded['class_names'])})"
    return Layout("mask", "MaskFolder", options | coded, found, "likely", [*more, *notes])


def _places(images: Kind, masks: Kind) -> dict[str, Any]:
    """Returns the folders of the two kinds, or patterns if the names differ."""
    if images.folder == masks.folder or any((images.start, images.end, masks.start, masks.end)):
        return {"images": images.pattern, "masks": masks.pattern}
    return {"images": images.folder or ".", "masks": masks.folder or "."}


def _lists(files: Listing, pair: Pair, place: int) -> dict[str, Any]:
    """Returns the lists that divide the images, if their folders do not."""
    if any("{split}" in kind.pattern for kind in pair.kinds):
        return {}
    stems = {stem(names[1 - place]).partition(".")[0] for names in pair.names}
    for name in files.ending(".txt"):
        pattern, split = without_split(name)
        words = [line.split()[0].rpartition("/")[2] for line in read_lines(files, name)]
        if split == "train" and words and {word.partition(".")[0] for word in words} <= stems:
            return {"lists": pattern}
    return {}


def _by_value(files: Listing, codes: Codes) -> tuple[dict[str, Any], list[str]]:
    """Returns the classes of masks of values: two are background and foreground, the smaller value the background."""
    values = sorted(codes.counts)
    ignored = [255] if len(values) > 2 and values[-1] == 255 else []
    used = [value for value in values if value not in ignored]
    notes = [f"pixels of the value {ignored[0]} do not count"] if ignored else []
    names = {value: f"class_{value}" for value in used}
    beside = names_beside(files)
    if len(used) == 2 and {*used} != {*beside}:
        names = dict(zip(used, ("background", "foreground"), strict=True))
    elif {*used} <= {*beside}:
        names = beside
    else:
        notes.append("no file names the values of the masks: write the names of the classes into class_names")
    are_places = [*names] == [*range(len(names))]
    return {"class_names": [*names.values()], **({} if are_places else {"values": [*names]})}, notes


def _by_color(files: Listing, codes: Codes) -> tuple[dict[str, Any], list[str]]:
    """Returns the classes of colored masks, the most frequent color first if no file names them."""
    named = named_colors(files)
    colors = [[code >> 16, code >> 8 & 255, code & 255] for code, _ in codes.counts.most_common()]
    if {tuple(color) for color in colors} <= {*named}:
        return {"class_names": [*named.values()], "colors": [[*color] for color in named]}, []
    notes = ["no file names the colors of the masks: write the names of the classes into class_names"]
    return {"class_names": ["color_" + "_".join(map(str, color)) for color in colors], "colors": colors}, notes


def _by_threshold(files: Listing, codes: Codes) -> tuple[dict[str, Any], list[str]]:
    note = "the masks have blurred edges, or are JPEG files: pixels from 128 on are the foreground"
    return {"class_names": ["background", "foreground"], "threshold": 128}, [note]
