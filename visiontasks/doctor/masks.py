"""Masks that cannot be used, are empty, or show one class only."""

from collections.abc import Iterator

import numpy as np

from visiontasks.core.sample import IGNORE_MASK
from visiontasks.core.words import counted
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding, Place, Severity
from visiontasks.doctor.survey import MaskLook

USUAL = 0.1  # share of masks from which on one class alone is usual in a set
FIXES = {
    "mask_values": "Follow the message of each mask.",
    "mask_size": "Export these masks in the size of their images; turn a mask as EXIF turns its image.",
    "empty_masks": "Check that these images really show nothing; else draw their masks.",
    "ignored_masks": "Draw these masks or remove the images: nothing is learned from them.",
    "whole_masks": "Check these masks: they may be filled by mistake.",
}


ADVICE = {  # by a part of the message
    "Declare it in `values`": "Declare the values in `values` or `ignore` of the dataset, or draw these masks again.",
    "Declare it in `colors`": "Declare the colors in `colors` or `ignore` of the dataset, or draw these masks again.",
    "compression changes pixel values": "Export masks in a format without loss, such as PNG; of two classes, those in "
    "other formats can be read with `threshold: 128` in place of `values`.",
    "broken or truncated": "Replace files that are no masks.",
}


def check_masks(evidence: Evidence) -> Iterator[Finding]:
    """Finds masks with unknown values or of another size, empty ones, and those that show one class alone."""
    groups: dict[str, list[Place]] = {name: [] for name in FIXES}
    total = 0
    for split, survey in evidence.surveys.items():
        names = evidence.datasets[split].names("mask")
        for index, mask in enumerate(survey.masks):
            total += mask is not None
            if mask and (fault := _fault(mask, evidence.sizes[split][index], names)):
                groups[fault[0]].append(evidence.place(split, index, fault[1]))
    texts = {
        "mask_values": "unknown values, or cannot be read; a training stops at the first one",
        "mask_size": "another size than the image; a training stops at the first one",
        "empty_masks": "only the first class",
        "ignored_masks": "ignored in every pixel",
        "whole_masks": "one class in every pixel",
    }
    for name, places in groups.items():
        if places:
            message = f"{counted(len(places), 'mask', total)}: {texts[name]}."
            advice = [fix for part, fix in ADVICE.items() if any(part in place.note for place in places)]
            yield Finding(name, _severity(name, len(places) / total), message, " ".join(advice) or FIXES[name], places)


def _severity(name: str, share: float) -> Severity:
    if name in ("mask_values", "mask_size"):
        return "error"
    return "note" if share > USUAL and name != "ignored_masks" else "warning"


def _fault(mask: MaskLook, size: np.ndarray, names: list[str]) -> tuple[str, str] | None:
    """Returns the check and a note for a mask with a fault."""
    if mask.error:
        return "mask_values", mask.error
    height, width = mask.size
    if size.all() and (height, width) != tuple(size.tolist()):
        also = ", turned" if (width, height) == tuple(size.tolist()) else ""
        return "mask_size", f"{width} x {height}, the image {size[1]} x {size[0]}{also}"
    present = np.flatnonzero(mask.counts[: len(names)])
    if not len(present):
        return "ignored_masks", ""
    if len(present) > 1 or len(names) < 2 or mask.counts[IGNORE_MASK]:
        return None
    return ("empty_masks" if present[0] == 0 else "whole_masks"), names[present[0]]
