"""Faults that a training meets as it opens the set."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from visiontasks.core.faults import Fault, FaultKind
from visiontasks.core.words import counted
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding, Place
from visiontasks.doctor.opening import Opened
from visiontasks.doctor.survey import files_of
from visiontasks.targets import target_kinds

CHECKS: dict[FaultKind, tuple[str, str, str]] = {  # the check, what the files have, and the fix
    "file": (
        "unreadable",
        "missing, or not an image that can be read",
        "Copy these files again, or remove them with their labels; move files that are no images elsewhere.",
    ),
    "annotation": ("annotations", "not usable as annotation", "Correct or remove what the message names."),
    "box": ("boxes_outside", "boxes that are not inside the image, or have no area", "Correct these boxes."),
    "size": (
        "other_size",
        "another size than the annotation states",
        "Export the boxes for these files; if only the stated size is wrong, set `boxes: clip`.",
    ),
    "class": (
        "unknown_classes",
        "an unknown class, a name that is none, or classes that contradict each other",
        "Correct these labels or names.",
    ),
    "double": ("double_boxes", "the same object twice", "Remove the copies from the annotations."),
    "partner": ("partners", "without a partner: an image without annotation, or the reverse", "Add or remove them."),
    "twice": ("listed_twice", "listed twice, or in two splits", "Leave each image in one place."),
    "empty": ("missing_classes", "a class without images", "Add images, or remove the folders."),
}
CLIP = "`boxes: clip`"  # which messages propose, and which is not set then


def check_opening(opened: Opened) -> Iterator[Finding]:
    """Finds splits that cannot be opened, and what the datasets say as they are opened."""
    for message in dict.fromkeys(opened.failed.values()):
        splits = [split for split, found in opened.failed.items() if found == message]
        yield Finding(
            "unusable", "error", f"{counted(len(splits), 'split')} cannot be opened: {', '.join(splits)}.", message
        )
    train = opened.datasets.get("train")
    for split, dataset in opened.datasets.items():
        for key in target_kinds():
            if train and (own := dataset.names(key)) != (known := train.names(key)):
                message = f"The classes of {split} ({key}) are not those of train; a training stops."
                yield Finding("class_names", "error", message, f"Give both the same: {own} and {known}.")
    has_doubles = any(fault.kind == "double" for found in opened.faults.values() for fault in found)
    if said := [message for message in opened.said if not (has_doubles and "not count" in message)]:
        yield Finding(
            "reading", "note", f"A training will say: {' '.join(said)}", "Check that this is what you expect."
        )


def check_faults(opened: Opened, evidence: Evidence) -> Iterator[Finding]:
    """Finds the faults of single files: those that stop a training, and those that it corrects."""
    groups: dict[tuple[FaultKind, bool], list[Place]] = defaultdict(list)
    seen: set[Fault] = set()
    places = _by_path(evidence)
    for split, faults in opened.faults.items():
        for fault in faults:
            place = _place(fault, split, places)
            if fault not in seen and not _is_known(fault, place, opened, evidence):
                groups[fault.kind, fault.refused].append(place)
            seen.add(fault)
    for (kind, refused), found in groups.items():
        key, fault, fix = CHECKS[kind]
        files = dict.fromkeys(place.name for place in found)
        several = f"{counted(len(found), 'fault')} in " if len(found) > len(files) else ""
        what = f"{several}{counted(len(files), 'file')}: {fault}"
        how = "; a training stops at the first one" if refused else "; a training corrects this or leaves it out"
        also = (
            f" {CLIP} cuts them to the image." if kind == "box" and any(CLIP in place.note for place in found) else ""
        )
        yield Finding(key, "error" if refused else "warning", f"{what}{how}.", fix + also, found)


def _is_known(fault: Fault, place: Place, opened: Opened, evidence: Evidence) -> bool:
    """Returns whether another check names the fault: of a file that was opened, or of a class of an opened set."""
    if fault.kind == "empty":
        return "train" in opened.datasets
    return fault.kind == "file" and place.index >= 0 and place.split in evidence.surveys


def _by_path(evidence: Evidence) -> dict[str, tuple[str, int]]:
    """Returns the split and the place of each file, also without its extension, as annotations have it."""
    found: dict[str, tuple[str, int]] = {}
    for split, dataset in evidence.datasets.items():
        for index, path in enumerate(_texts(files_of(dataset))):
            found[path] = found[str(PurePath(path).with_suffix(""))] = split, index
    return found


def _texts(files: Sequence) -> list[str]:
    return [str(file) for file in files]


def _place(fault: Fault, split: str, places: dict[str, tuple[str, int]]) -> Place:
    plain = str(PurePath(fault.path).with_suffix(""))
    image = plain.replace("/labels/", "/images/")  # as YOLO pairs them
    known = next((places[key] for key in (fault.path, str(PurePath(fault.path)), plain, image) if key in places), None)
    return Place(*(known or (split, -1)), fault.path, fault.text)
