"""Boxes that are tiny, as large as the image, or there twice."""

from collections.abc import Callable, Iterator

import numpy as np

from visiontasks.core.geometry import box_iou
from visiontasks.core.objects import Objects
from visiontasks.core.words import counted, verb
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding, Severity

TINY, SMALL = 4, 8  # pixels of the shorter side of a box in the picture that a network sees
DOUBLE = 0.9  # IoU of two boxes of one class that show the same object
OTHER = 0.95  # IoU of two boxes of different classes that show the same object
WHOLE = 0.98  # share of the image
USUAL = 0.1  # share of the boxes from which on they are usual in a set
NOTED = 3  # boxes of an image
EMPTY = 0.5  # share of the images from which on most have no object

Test = Callable[[Evidence, str, int, Objects], list[str]]  # a note for each box that fails


def check_boxes(evidence: Evidence) -> Iterator[Finding]:
    """Finds boxes that a network can hardly see, boxes of the whole image, and objects that are annotated twice."""
    if not evidence.has_boxes:
        return
    total = sum(len(one["labels"]) for found in evidence.objects.values() for one in found if one)
    fix = "Check these boxes. If the objects are so small, raise `image_size`, or train on parts of the images."
    text = f"smaller than {TINY} pixels, in the image or in the picture that the network sees"
    yield from _found(evidence, "tiny_boxes", _tiny, total, text, fix)
    small = sum(int((_sides(evidence, s, i, one) < SMALL).sum()) for s, i, one in _each(evidence))
    if small > USUAL * total:
        are = f"{counted(small, 'object', total)} {verb(small, 'is', 'are')}"
        message = f"{are} smaller than {SMALL} pixels in the picture that the network sees."
        fix = "Raise `image_size`, or train on parts of the images with `train_size`."
        yield Finding("small_objects", "warning", message, fix)
    fix = "Check these boxes: they may stand for the image instead of an object."
    yield from _found(evidence, "whole_boxes", _whole, total, "as large as the image", fix)
    fix = "Remove one of each pair, and decide for one class."
    yield from _found(evidence, "double_boxes", _double, total, "there twice", fix)
    yield from _without(evidence)


def _each(evidence: Evidence) -> Iterator[tuple[str, int, Objects]]:
    for split, found in evidence.objects.items():
        for index, one in enumerate(found):
            if one is not None and len(one["labels"]) and evidence.sizes[split][index].all():
                yield split, index, one


def _found(evidence: Evidence, check: str, test: Test, total: int, text: str, fix: str) -> Iterator[Finding]:
    found = [(split, index, test(evidence, split, index, one)) for split, index, one in _each(evidence)]
    places = [evidence.place(split, index, "; ".join(notes[:NOTED])) for split, index, notes in found if notes]
    if places:
        severity: Severity = "note" if sum(len(notes) for *_, notes in found) > USUAL * total else "warning"
        yield Finding(check, severity, f"{counted(len(places), 'image')} with boxes {text}.", fix, places)


def _sides(evidence: Evidence, split: str, index: int, objects: Objects) -> np.ndarray:
    """Returns the shorter side of each box in the picture, in pixels."""
    boxes = evidence.frame(split, index).to_picture(objects["boxes"][~objects["crowd"]])
    return (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf)


def _tiny(evidence: Evidence, split: str, index: int, objects: Objects) -> list[str]:
    boxes = objects["boxes"][~objects["crowd"]]
    own = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf)
    tiny = np.minimum(_sides(evidence, split, index, objects), own) < TINY
    return [f"{x2 - x1:g} x {y2 - y1:g} pixels" for x1, y1, x2, y2 in boxes[tiny]]


def _whole(evidence: Evidence, split: str, index: int, objects: Objects) -> list[str]:
    height, width = evidence.sizes[split][index]
    sides = objects["boxes"][:, 2:] - objects["boxes"][:, :2]
    shares = sides.prod(1) / (height * width)
    return [f"{share:.0%} of the image" for share in shares[shares >= WHOLE]]


def _double(evidence: Evidence, split: str, index: int, objects: Objects) -> list[str]:
    boxes, labels = objects["boxes"], objects["labels"]
    iou = np.triu(box_iou(boxes[:, None], boxes[None]), 1)
    same = labels[:, None] == labels
    real = ~objects["crowd"] & ~objects["crowd"][:, None]
    first, second = np.nonzero(np.where(same, iou >= DOUBLE, iou >= OTHER) & real)
    names = evidence.datasets[split].names("objects")
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return [f"{names[labels[i]]} and {names[labels[j]]}, IoU {iou[i, j]:.2f}" for i, j in pairs]


def _without(evidence: Evidence) -> Iterator[Finding]:
    known = [(s, i, one) for s, found in evidence.objects.items() for i, one in enumerate(found) if one is not None]
    empty = [evidence.place(split, index) for split, index, one in known if not len(one["labels"])]
    if empty:
        severity: Severity = "warning" if len(empty) > EMPTY * len(known) else "note"
        message = f"{counted(len(empty), 'image', len(known))} without an object."
        yield Finding("no_objects", severity, message, "Check that these images really show none.", empty)
