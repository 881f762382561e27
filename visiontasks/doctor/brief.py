"""The short check before a fit."""

from collections.abc import Iterator
from contextlib import suppress

from visiontasks.core.errors import InputError
from visiontasks.core.words import counted
from visiontasks.data import VisionDataModule
from visiontasks.doctor.boxes import check_boxes
from visiontasks.doctor.classes import check_classes
from visiontasks.doctor.diagnosis import ordered
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding
from visiontasks.doctor.leaks import check_leaks
from visiontasks.doctor.sizes import check_sizes
from visiontasks.doctor.values import check_values

OF_NAMES = (check_classes, check_values, check_leaks)
OF_SIZES = (check_boxes, check_sizes)
LARGE = 10_000  # images from which on reading the header of each takes long
MOST = 3  # lines
ADVICE = "See `visiontasks doctor -c CONFIG`."


def find_briefly(data: VisionDataModule) -> list[Finding]:
    """Checks what needs no pixels: headers of files, classes, boxes and names; only warnings and errors count."""
    datasets = {}
    for split in ("train", "val"):
        with suppress(InputError):  # the fit, which comes next, raises it too
            datasets[split] = data.dataset(split)
    if "train" not in datasets:
        return []
    evidence = Evidence(data, datasets, of_fit=True)
    found = [finding for check in OF_NAMES for finding in check(evidence)]
    if sum(map(len, datasets.values())) <= LARGE:
        found += [*_unread(evidence), *(finding for check in OF_SIZES for finding in check(evidence))]
    return ordered(finding for finding in found if finding.severity != "note")


def check_briefly(data: VisionDataModule) -> list[str]:
    """Returns what `find_briefly` finds, as at most three lines."""
    lines = [finding.message for finding in find_briefly(data)]
    if len(lines) > MOST:
        lines[MOST - 1 :] = [f"{len(lines) - MOST + 1} more findings."]
    return [*lines[:-1], f"{lines[-1]} {ADVICE}"] if lines else []


def _unread(evidence: Evidence) -> Iterator[Finding]:
    broken = [(split, i) for split, sizes in evidence.sizes.items() for i in range(len(sizes)) if not sizes[i].all()]
    if broken:
        message = f"{counted(len(broken), 'image')} cannot be read; the first is {evidence.place(*broken[0]).name}."
        yield Finding("unreadable", "error", message, "Replace or remove them, with their labels.")
