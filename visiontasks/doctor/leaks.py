"""Images of one patient, video or scene in two splits."""

from collections.abc import Iterator, Sequence

import numpy as np

from visiontasks.core.tables import some
from visiontasks.core.words import counted, verb
from visiontasks.doctor.evidence import HELD_OUT, Evidence
from visiontasks.doctor.finding import Finding
from visiontasks.doctor.groups import members, series

Image = tuple[str, int]  # split and place

GROUPS, PER_GROUP, COVERED = 2, 2.0, 0.5  # least number of groups, images per group, and share of images in groups
CLOSER = 0.75  # images of one group differ less than this times what others differ
LONG = 8  # images of a series
FEWEST, SAMPLED = 3, 30  # pairs that are compared
READ = 5  # series whose images the short check reads


def check_leaks(evidence: Evidence) -> Iterator[Finding]:
    """Finds groups of images that are in training and in another split, and neighboring frames of a video."""
    names = {split: [*map(one.name, range(len(one)))] for split, one in evidence.datasets.items()}
    yield from _groups(evidence, names)
    yield from _frames(evidence, names)


def _groups(evidence: Evidence, names: dict[str, list[str]]) -> Iterator[Finding]:
    if "train" not in names:
        return
    classes = evidence.datasets["train"].names("label")
    found = members(names, classes)
    images = sum(map(len, found.values()))
    few = len(found) < GROUPS or images < PER_GROUP * len(found) or images < COVERED * sum(map(len, names.values()))
    if few or _are_classes(evidence, found):
        return
    pairs = [(group[i], group[-1 - i]) for group in found.values() for i in range(min(2, len(group) // 2))]
    alike = _closer(evidence, pairs)
    trained = {name for name, group in found.items() if any(split == "train" for split, _ in group)}
    for split in HELD_OUT:
        leaked = {name: [i for s, i in found[name] if s == split] for name in trained}
        leaked = {name: places for name, places in leaked.items() if places}
        if not leaked:
            continue
        count = sum(map(len, leaked.values()))
        shown = some([f"{name} ({len(places)})" for name, places in leaked.items()])
        belong = f"{split} {verb(count, 'belongs', 'belong')} by name to groups in train"
        message = f"{counted(count, 'image', len(names[split]))} of {belong}: {shown}."
        fix = f"If a group is one video, patient or place, put it in one split: {_how(evidence)}"
        places = [evidence.place(split, i, name) for name, found_there in leaked.items() for i in found_there]
        yield Finding("leaked_groups", "warning" if alike else "note", message, fix, places)


def _how(evidence: Evidence) -> str:
    name = type(evidence.datasets["train"]).__name__
    if name == "CsvTable":
        return "name the column of the group in `group_column`."
    return "move files between the folders or lists of the splits, or list the images in a table (`CsvTable`)."


def _are_classes(evidence: Evidence, found: dict[str, list[Image]]) -> bool:
    """Returns whether groups are just another name of the classes, as in n01440764_10026.JPEG."""
    labels = [{evidence.targets[split][i].get("label") for split, i in group} for group in found.values()]
    names = evidence.datasets["train"].names("label")
    return bool(names) and len(found) <= 2 * len(names) and all(len(own) == 1 and None not in own for own in labels)


def _frames(evidence: Evidence, names: dict[str, list[str]]) -> Iterator[Finding]:
    leaked: dict[str, list[int]] = {split: [] for split in HELD_OUT}
    longest = sorted(series(names).values(), key=len, reverse=True)
    for images in longest if evidence.surveys else longest[:READ]:
        sides = {split for _, split, _ in images}
        if len(images) < LONG or len(sides) < 2 or "train" not in sides:
            continue
        steps = np.diff([number for number, *_ in images])
        near = np.flatnonzero(steps <= 2 * np.median(steps))
        if not _closer(evidence, [(images[i][1:], images[i + 1][1:]) for i in near]):
            continue
        for place in near:
            for own, other in ((images[place], images[place + 1]), (images[place + 1], images[place])):
                if own[1] in leaked and other[1] == "train":
                    leaked[own[1]].append(own[2])
    for split, places in leaked.items():
        if places := sorted(set(places)):
            count = counted(len(places), "image", len(names[split]))
            what = verb(len(places), "is a frame", "are frames") + " of a video next to a training image"
            message = f"{count} of {split} {what}, so its figures are too good for new ones."
            fix = f"Put each video, or long parts of it, in one split: {_how(evidence)}"
            yield Finding("leaked_frames", "warning", message, fix, evidence.places(split, places))


def _closer(evidence: Evidence, pairs: Sequence[tuple[Image, Image]]) -> bool:
    """Returns whether the two images of pairs differ less than images of different pairs."""
    chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(len(pairs), SAMPLED)).astype(int)] if pairs else []
    if len(chosen) < FEWEST:
        return False
    first, second = (np.stack([_colors(evidence, *pair[side]) for pair in chosen]) for side in (0, 1))
    distances = np.linalg.norm(first[:, None] - second[None], axis=-1)
    return bool(np.median(np.diag(distances)) < CLOSER * np.median(distances[~np.eye(len(chosen), dtype=bool)]))


def _colors(evidence: Evidence, split: str, index: int) -> np.ndarray:
    """Returns the colors of 8 x 8 cells of an image, float32 (192,)."""
    thumbnail = evidence.thumbnail(split, index).astype(np.float32)
    return thumbnail.reshape(8, 4, 8, 4, 3).mean((1, 3)).ravel()
