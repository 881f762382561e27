"""Pairs of files whose names differ in folder, start or end alone."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import combinations
from typing import NamedTuple

from visiontasks.data.layouts.base import Listing, joined
from visiontasks.data.splits import without_split

SEPARATOR = re.compile(r"(?<=[^_.\- ])(?=[_.\- ])|(?<=[_.\- ])(?=[^_.\- ])")
JOINED = re.compile(r"(train|val|test)(?=annot|mask|label|gt|seg)", re.IGNORECASE)  # such as trainannot
SHARE = 0.9  # of the files of a kind that must have a partner
MOST_KINDS = 12  # a rest that more kinds share says nothing
MANY, SAMPLE = 2000, 100  # names from which on some show which pairs there are, and how many do
SHARE_OF_SOME, MOST_PAIRS = 0.7, 8  # of the files of a kind among some names; pairs of these that are looked at
WORD = re.compile(r"[^/_.\- ]+")

Rest = tuple[str, str]


class Kind(NamedTuple):
    """What the names of one kind of files share: folder, start, end and extension, `{split}` for the split."""

    folder: str
    start: str
    end: str
    extension: str

    @property
    def pattern(self) -> str:
        """Path of the files with `{stem}` for the rest of the name."""
        return joined(self.folder, f"{self.start}{{stem}}{self.end}.{self.extension}")


class Pair(NamedTuple):
    """Two kinds of files, and the names of those that belong together."""

    kinds: tuple[Kind, Kind]
    names: list[tuple[str, str]]


def find_pairs(files: Listing) -> list[Pair]:
    """Returns the pairs of kinds of images that share the rest of their names, those with most files first."""
    if len(files.images) <= MANY:
        found = _pairs(files.images)
    else:
        some = [*_pairs(_with_partners(files.images), SHARE_OF_SOME)][:MOST_PAIRS]
        found = _pairs(files.images, among={kind for pair, _ in some for kind in pair.kinds}) if some else []
    return [_without_lonely_split(pair, splits) for pair, splits in found]


def _pairs(
    names: Sequence[str], share: float = SHARE, among: Collection[Kind] | None = None
) -> list[tuple[Pair, set[str]]]:
    """Returns the pairs and the splits that have them; `share` of the files of a kind must have a partner."""
    members: dict[Kind, dict[Rest, str]] = defaultdict(dict)
    by_rest: dict[Rest, list[Kind]] = defaultdict(list)
    by_place: dict[tuple[str, str], list[Kind]] = defaultdict(list)
    for kind in among or ():
        by_place[kind.folder, kind.extension].append(kind)
    for name in names:
        for rest, kind in _kinds(name) if among is None else _kinds_among(name, by_place):
            members[kind][rest] = name
            by_rest[rest].append(kind)
    counts: Counter[tuple[Kind, Kind]] = Counter()
    splits: dict[tuple[Kind, Kind], set[str]] = defaultdict(set)  # those that have pairs
    for (split, _), kinds in by_rest.items():
        for both in combinations(sorted(kinds), 2) if len(kinds) <= MOST_KINDS else ():
            counts[both] += 1
            splits[both].add(split)
    sizes = {kind: Counter(split for split, _ in rests) for kind, rests in members.items()}
    whole = [both for both, count in counts.items() if count >= max(2, share * _larger(both, sizes, splits[both]))]
    found: dict[tuple[tuple[str, str], ...], tuple[Pair, set[str]]] = {}
    for first, second in sorted(whole, key=lambda kinds: (-counts[kinds], *_complexity(kinds))):
        rests = [rest for rest in members[first] if rest in members[second]]
        pairs = [(members[first][rest], members[second][rest]) for rest in rests]
        found.setdefault(tuple(pairs), (Pair((first, second), pairs), splits[first, second]))
    return [*found.values()]


def _with_partners(names: Sequence[str]) -> list[str]:
    """Returns some of many names, and those that share their rarest words, as partners do."""
    words = [sorted({*WORD.findall(name)}) for name in names]
    places: dict[str, set[int]] = defaultdict(set)
    for place, found in enumerate(words):
        for word in found:
            places[word].add(place)
    chosen: set[int] = set()
    for place in random.Random(0).sample(range(len(names)), SAMPLE):  # every n-th could be images without masks
        first, *others = sorted((places[word] for word in words[place]), key=len)
        for other in others:
            first = first & other if len(first) > MOST_KINDS else first
        chosen |= {place, *sorted(first)[:MOST_KINDS]}
    return [names[place] for place in sorted(chosen)]


def _complexity(kinds: tuple[Kind, Kind]) -> tuple[int, int, int]:
    """Returns how many starts and ends the names have, and minus the lengths of these and of the folders."""
    ends = [end for kind in kinds for end in (kind.start, kind.end) if end]
    return len(ends), -sum(map(len, ends)), -sum(len(kind.folder) for kind in kinds)


def _larger(kinds: tuple[Kind, Kind], sizes: dict[Kind, Counter[str]], splits: set[str]) -> int:
    """Returns the number of files of the larger kind in the splits; `a_mask` is also of the kind that has any end."""
    first, second = kinds
    one, other = (sum(sizes[kind][split] for split in splits) for kind in kinds)
    if first._replace(start="", end="") == second._replace(start="", end=""):
        one, other = (one - other, other) if not (first.start or first.end) else (one, other - one)
    return max(one, other)


def _without_lonely_split(pair: Pair, splits: set[str]) -> Pair:
    """Names the folders of training images themselves if the other splits have no pairs."""
    if splits != {"train"}:
        return pair
    kinds = []
    for kind, name in zip(pair.kinds, pair.names[0], strict=True):
        *folders, file = name.split("/")
        depth = kind.folder.count("/") + 1 if kind.folder else 0
        before, _, after = without_split(file)[0].partition("{split}")
        word = file[len(before) : len(file) - len(after)]
        start, end = (part.replace("{split}", word) for part in (kind.start, kind.end))
        kinds.append(kind._replace(folder="/".join(folders[:depth]), start=start, end=end))
    return Pair((kinds[0], kinds[1]), pair.names)


def _kinds(name: str) -> Iterator[tuple[Rest, Kind]]:
    """Yields the ways to see a file as one of a kind: the rest of its name with the split, and the kind."""
    for folder, split, inner, stem, extension in _divided(name):
        yield (split, joined(inner, stem)), Kind(folder, "", "", extension)
        for cut in (place.start() for place in SEPARATOR.finditer(stem)):
            yield (split, joined(inner, stem[:cut])), Kind(folder, "", stem[cut:], extension)
            yield (split, joined(inner, stem[cut:])), Kind(folder, stem[:cut], "", extension)


def _kinds_among(name: str, by_place: dict[tuple[str, str], list[Kind]]) -> Iterator[tuple[Rest, Kind]]:
    """Yields those of `_kinds` that are among these, by folder and extension."""
    for folder, split, inner, stem, extension in _divided(name):
        for kind in by_place.get((folder, extension), ()):
            rest = stem.removeprefix(kind.start).removesuffix(kind.end)
            has_both = len(kind.start) + len(rest) + len(kind.end) == len(stem)
            if rest and has_both and (rest == stem or SEPARATOR.match(stem, len(kind.start) or len(rest))):
                yield (split, joined(inner, rest)), kind


def _divided(name: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yields the ways to divide a path: folder, split, folders inside, name and extension."""
    *folders, file = name.split("/")
    stem, _, extension = file.rpartition(".")
    pattern, own = without_split(stem)
    for depth in range(len(folders) + 1):
        folder, split = _with_split("/".join(folders[:depth]))
        yield folder, split, "/".join(folders[depth:]), pattern if own == split else stem, extension


@cache
def _with_split(folder: str) -> tuple[str, str]:
    """Returns a folder with `{split}` for the split, and the split; empty if it has none."""
    pattern, split = without_split(folder)
    if split is None and (word := JOINED.search(folder)):
        return folder.replace(word[0], "{split}"), word[0].lower()
    return pattern, split or ""
