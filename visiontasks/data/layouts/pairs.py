"""Pairs of files whose names differ in folder, start or end alone."""

import re
from collections import Counter, defaultdict
from itertools import combinations
from typing import NamedTuple

from visiontasks.data.layouts.base import Listing, joined
from visiontasks.data.splits import without_split

SEPARATOR = re.compile(r"(?<=[^_.\- ])(?=[_.\- ])|(?<=[_.\- ])(?=[^_.\- ])")
JOINED = re.compile(r"(train|val|test)(?=annot|mask|label|gt|seg)", re.IGNORECASE)  # such as trainannot
SHARE = 0.9  # of the files of a kind that must have a partner
MOST_KINDS = 12  # a rest that more kinds share says nothing

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
    members: dict[Kind, dict[Rest, str]] = defaultdict(dict)
    by_rest: dict[Rest, list[Kind]] = defaultdict(list)
    for name in files.images:
        for rest, kind in _kinds(name):
            members[kind][rest] = name
            by_rest[rest].append(kind)
    counts: Counter[tuple[Kind, Kind]] = Counter()
    splits: dict[tuple[Kind, Kind], set[str]] = defaultdict(set)  # those that have pairs
    for (split, _), kinds in by_rest.items():
        for both in combinations(sorted(kinds), 2) if len(kinds) <= MOST_KINDS else ():
            counts[both] += 1
            splits[both].add(split)
    sizes = {kind: Counter(split for split, _ in rests) for kind, rests in members.items()}
    whole = [both for both, count in counts.items() if count >= max(2, SHARE * _larger(both, sizes, splits[both]))]
    found = []
    for first, second in sorted(whole, key=lambda kinds: (-counts[kinds], *_complexity(kinds))):
        rests = [rest for rest in members[first] if rest in members[second]]
        names = [(members[first][rest], members[second][rest]) for rest in rests]
        found.append(_without_lonely_split(Pair((first, second), names), splits[first, second]))
    return found


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
        depth = kind.folder.count("/") + 1 if kind.folder else 0
        kinds.append(kind._replace(folder="/".join(name.split("/")[:depth])))
    return Pair((kinds[0], kinds[1]), pair.names)


def _kinds(name: str) -> list[tuple[Rest, Kind]]:
    """Returns the ways to see a file as one of a kind: the rest of its name with the split, and the kind."""
    *folders, file = name.split("/")
    stem, _, extension = file.rpartition(".")
    ways = [(stem, "", "")]
    for cut in (place.start() for place in SEPARATOR.finditer(stem)):
        ways += [(stem[:cut], "", stem[cut:]), (stem[cut:], stem[:cut], "")]
    found = []
    for depth in range(len(folders) + 1):
        above, inner = "/".join(folders[:depth]), "/".join(folders[depth:])
        pattern, split = without_split(above)
        if split is None and (word := JOINED.search(above)):
            pattern, split = above.replace(word[0], "{split}"), word[0].lower()
        found += [((split or "", joined(inner, rest)), Kind(pattern, *way, extension)) for rest, *way in ways]
    return found
