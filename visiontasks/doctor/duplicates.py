"""Images that are there twice, in one split or in two."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from visiontasks.core.words import counted, verb
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.files import BLANK
from visiontasks.doctor.finding import Finding, Place, Severity
from visiontasks.doctor.similarity import groups_of, similar_pairs

SERIOUS = 0.01  # share of a split from which on copies of training images falsify its figures
REMOVE = "Remove one of each pair"
ORIGINAL = "its copy is"


class Copy(NamedTuple):
    """Two images that show the same: their splits and places, the one to keep first, and how the second differs."""

    kept: tuple[str, int]
    copy: tuple[str, int]
    exact: bool
    how: str


def check_duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Finds copies across splits, which falsify figures; copies within a split; and copies of different classes."""
    copies = find_copies(evidence)
    unlike = {copy: None for copy in copies if _differ(evidence, copy)}  # in their order
    for exact in (True, False):
        yield from _leaked(evidence, [copy for copy in copies if copy.exact is exact], exact)
    for exact in (True, False):
        yield from _within(evidence, [copy for copy in copies if copy.exact is exact and copy not in unlike], exact)
    yield from _contradicting(evidence, [*unlike])


def find_copies(evidence: Evidence) -> list[Copy]:
    """Returns the images that are the same file, then those that show the same picture."""
    images = [(split, i) for split, survey in evidence.surveys.items() for i in range(len(survey.looks))]
    looks = [look for survey in evidence.surveys.values() for look in survey.looks]
    first: dict[bytes, int] = {}
    copies, single = [], []
    same: dict[int, list[int]] = {}  # the other places of a file, by its first place
    for place, look in enumerate(looks):
        if look.error or look.spread <= BLANK:
            continue
        if (before := first.setdefault(look.digest, place)) == place:
            single.append(place)
        else:
            same.setdefault(before, []).append(place)
            copies.append(Copy(images[before], images[place], True, "the same file"))
    if len(single) > 1:
        for pair in similar_pairs(np.stack([looks[place].thumbnail for place in single])):
            how = ", ".join(filter(None, (pair.turn, f"{pair.score:.2f} alike")))
            left, right = single[pair.first], single[pair.second]
            pairs = [(left, other) for other in (right, *same.get(right, []))]
            pairs += [(right, other) for other in same.get(left, [])]
            copies += [Copy(images[min(both)], images[max(both)], False, how) for both in pairs]
    return copies


def _leaked(evidence: Evidence, copies: list[Copy], exact: bool) -> Iterator[Finding]:
    for split, dataset in evidence.datasets.items():
        pairs = [c for c in copies if c.copy[0] == split != c.kept[0]]
        if not pairs:
            continue
        places = _places(evidence, pairs)
        count, what = len({pair.copy for pair in pairs}), "the same file" if exact else "the same picture"
        severity: Severity = "error" if exact and count >= SERIOUS * len(dataset) else "warning"
        others = " and ".join(dict.fromkeys(pair.kept[0] for pair in pairs))
        are = verb(count, "is", "are")
        message = f"{counted(count, 'image', len(dataset))} of {split} {are} also in {others} ({what})"
        fix = f"{REMOVE}, or put all copies in one split. Until then the figures of {split} are too good."
        fix += "" if exact else " Images of a fixed camera, which all look alike, are no copies."
        yield Finding("leaked_duplicates" if exact else "leaked_near_duplicates", severity, f"{message}.", fix, places)


def _within(evidence: Evidence, copies: list[Copy], exact: bool) -> Iterator[Finding]:
    pairs = [copy for copy in copies if copy.kept[0] == copy.copy[0]]
    if not pairs:
        return
    places = _places(evidence, pairs)
    groups = len(groups_of([(_number(c.kept), _number(c.copy)) for c in pairs]))
    count = len({pair.copy for pair in pairs})
    what = f"{verb(count, 'is', 'are')} the same file as" if exact else f"{verb(count, 'looks', 'look')} like"
    message = f"{counted(count, 'image')} {what} another image of the same split ({counted(groups, 'group')})"
    fix = f"{REMOVE}, unless {'it should count twice' if exact else 'they are frames of one video, where it is usual'}."
    key, severity = ("duplicates", "warning") if exact else ("near_duplicates", "note")
    yield Finding(key, severity, f"{message}.", fix, places)


def _contradicting(evidence: Evidence, copies: list[Copy]) -> Iterator[Finding]:
    places = []
    for copy in copies:
        first, second = (_said(evidence, *image) for image in (copy.kept, copy.copy))
        for image, other, label, name in ((copy.copy, copy.kept, second, first), (copy.kept, copy.copy, first, second)):
            places.append(evidence.place(*image, f"{label}, but {other[0]}: {evidence.place(*other).name} is {name}"))
    if places:
        count = len({copy.copy for copy in copies})
        message = f"{counted(count, 'image')} {verb(count, 'has', 'have')} a copy with another label."
        fix = "Correct the wrong label, and remove one of the copies. A small defect may make a real difference."
        yield Finding("contradictions", "warning", message, fix, places)


def _places(evidence: Evidence, copies: list[Copy]) -> list[Place]:
    """Returns the images of each pair, the copy first, each once."""
    found: dict[tuple[str, int], Place] = {}
    for one in copies:
        first, second = (evidence.place(*image) for image in (one.kept, one.copy))
        found.setdefault(one.copy, second._replace(note=f"{first.split}: {first.name} ({one.how})"))
        found.setdefault(one.kept, first._replace(note=f"{ORIGINAL} {second.split}: {second.name}"))
    return list(found.values())


def removable(finding: Finding) -> list[Place]:
    """Returns the images of a finding to remove: of copies one of each, and in training rather than in other splits."""
    if finding.check.startswith("leaked_") and finding.check.endswith("duplicates"):
        return [place for place in finding.places if place.split != finding.places[0].split]
    return [place for place in finding.places if not place.note.startswith(ORIGINAL)]


def _differ(evidence: Evidence, copy: Copy) -> bool:
    """Returns whether two copies have different classes, or numbers if they are the same file."""
    first, second = (_said(evidence, *image) for image in (copy.kept, copy.copy))
    has_numbers = "value" in evidence.targets[copy.kept[0]][copy.kept[1]]
    return bool(first and second) and first != second and (copy.exact or not has_numbers)


def _said(evidence: Evidence, split: str, index: int) -> str:
    """Returns what the targets say of a whole image, in words; empty if they say nothing."""
    target, names = evidence.targets[split][index], evidence.datasets[split].names
    parts = [names("label")[target["label"]]] if target.get("label") is not None else []
    if "labels" in target:
        present = [name for name, flag in zip(names("labels"), target["labels"], strict=True) if flag == 1]
        parts += present or ["no class"]
    if "value" in target:
        parts += [f"{name} {value:g}" for name, value in zip(names("value"), target["value"], strict=True)]
    return ", ".join(parts)


def _number(image: tuple[str, int]) -> int:
    return hash(image)
