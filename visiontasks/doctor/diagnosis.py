"""The check of a set."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.data import VisionDataModule
from visiontasks.doctor.boxes import check_boxes
from visiontasks.doctor.classes import check_classes, count_classes
from visiontasks.doctor.duplicates import check_duplicates, removable
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.files import check_files
from visiontasks.doctor.finding import Finding
from visiontasks.doctor.leaks import check_leaks
from visiontasks.doctor.masks import check_masks
from visiontasks.doctor.opening import open_splits
from visiontasks.doctor.reading import check_faults, check_opening
from visiontasks.doctor.sizes import check_sizes
from visiontasks.doctor.survey import survey
from visiontasks.doctor.swaps import check_swaps
from visiontasks.doctor.values import check_values

Check = Callable[[Evidence], Iterator[Finding]]

SEVERITIES = ("error", "warning", "note")
CHECKS: tuple[Check, ...] = (
    check_files,
    check_duplicates,
    check_leaks,
    check_classes,
    check_values,
    check_masks,
    check_swaps,
    check_boxes,
    check_sizes,
)


@dataclass(frozen=True)
class Diagnosis:
    """What a check of a set has found.

    Attributes:
        findings: The worst first.
        images: The number of images of each split that can be used.
        classes: By split and key of a target, the images (pixels of masks) with each class.
        files: The files of the images of each finding, in the same order; of copies those to remove.
    """

    findings: list[Finding]
    images: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    files: list[list[str]] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """The number of errors, warnings and notes."""
        return {name: sum(one.severity == name for one in self.findings) for name in SEVERITIES}

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is worse than a note."""
        return all(one.severity == "note" for one in self.findings)

    def without(self, checks: Iterable[str]) -> "Diagnosis":
        """Returns the diagnosis without the findings of these checks."""
        left = [place for place, one in enumerate(self.findings) if one.check not in {*checks}]
        files = [self.files[place] for place in left] if self.files else []
        return Diagnosis([self.findings[place] for place in left], self.images, self.classes, files)

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain values."""
        findings = [finding.to_json() for finding in self.findings]
        return {"counts": self.counts, "images": self.images, "classes": self.classes, "findings": findings}


def diagnose(data: VisionDataModule, more: Sequence[Callable[[VisionDataModule], Iterable[Finding]]] = ()) -> Diagnosis:
    """Checks a set in one pass over its images; nothing is changed.

    Args:
        data: The data of a config. A set that cannot be opened is no exception, but a finding.
        more: Other checks, such as one that needs a network. They are left out if a training could not open the set.
    """
    opened = open_splits(data)
    evidence = Evidence(data, opened.datasets)
    for split, dataset in opened.datasets.items():
        evidence.surveys[split] = survey(dataset, split)
    findings = [*check_opening(opened), *check_faults(opened, evidence)]
    findings += [finding for check in CHECKS for finding in check(evidence)]
    findings += [finding for check in more for finding in _run(check, data)]
    findings = ordered(findings)
    images = {split: len(dataset) for split, dataset in opened.datasets.items()}
    classes = {split: count_classes(evidence, split) for split in opened.datasets}
    return Diagnosis(findings, images, classes, [_files(evidence, finding) for finding in findings])


def _run(check: Callable[[VisionDataModule], Iterable[Finding]], data: VisionDataModule) -> Iterable[Finding]:
    try:
        return list(check(data))
    except InputError as error:
        message = "A further check needs a set without errors, and was left out."
        return [Finding("left_out", "note", message, f"Correct the errors first: {error}")]


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Returns findings, the worst first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _files(evidence: Evidence, finding: Finding) -> list[str]:
    return [*dict.fromkeys(evidence.file(place) or place.name for place in removable(finding))]
