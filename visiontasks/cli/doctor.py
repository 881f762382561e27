"""The command `visiontasks doctor`, which checks the data of a config."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import partial

from visiontasks.cli.opening import open_data, predicted_keys
from visiontasks.core.errors import InputError
from visiontasks.core.files import write_json
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.tables import print_pairs, print_table
from visiontasks.data import VisionDataModule
from visiontasks.doctor import Diagnosis, Finding, check_briefly, diagnose
from visiontasks.doctor.finding import CHECK_NAMES

FAULTY = 1  # exit status
FEW, WIDTH = 3, 60  # names that are shown, and their characters


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Checks the data, prints what was found, and ends with status 1 if something is worse than a note."""
    refuse_unknown(options.ignore)
    folder = OutputFolder(options.output, "doctor.json", "files/*.txt") if options.output else None
    checks = [partial(label_errors, keys=predicted_keys(options.config))] if options.label_errors else []
    found = diagnose(open_data(options.config, more), checks).without(options.ignore)
    print(f"Images: {', '.join(f'{count:,} in {split}' for split, count in found.images.items()) or 'none'}.")
    if found.findings:
        print_findings(found.findings)
    counts = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in found.counts.items() if count]
    print(f"Found: {', '.join(counts) or 'nothing wrong'}.")
    if folder:
        write_files(folder, found)
        print(f"Wrote {folder.path}: doctor.json, and the files of each check in files/CHECK.txt.")
    if not found.is_healthy:
        sys.exit(FAULTY)


def refuse_unknown(checks: Iterable[str]) -> None:
    """Raises an InputError if there is no check of one of these names."""
    for unknown in (check for check in checks if check not in CHECK_NAMES):
        close = get_close_matches(unknown, CHECK_NAMES, 1)
        hint = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(CHECK_NAMES)}."
        raise InputError(f"--ignore {unknown}: there is no such check. {hint}")


def label_errors(data: VisionDataModule, keys: Sequence[str]) -> list[Finding]:
    """Looks for wrong values of targets; see `find_label_errors`."""
    from visiontasks.doctor.label_errors import find_label_errors  # a fit, which needs none of it, waits less

    return find_label_errors(data, keys)


def print_check(data: VisionDataModule) -> None:
    """Prints what a short check before a fit has found: nothing, or up to three lines."""
    print_pairs(("check", line) for line in check_briefly(data))


def print_findings(findings: Sequence[Finding]) -> None:
    """Prints a table of what was found, and the fix of each."""
    rows = [(one.severity, one.check, _names(one), str(_count(one) or "")) for one in findings]
    print_table("", ("severity", "check", "first images", "images"), rows, 3)
    for finding in findings:
        print(f"{finding.severity} {finding.check}: {finding.message}")
        notes = [f"  {place.name}: {place.note}" for place in finding.places[:FEW] if place.note]
        print(*notes, f"  Fix: {finding.fix}", "", sep="\n")


def write_files(folder: OutputFolder, found: Diagnosis) -> None:
    """Writes doctor.json, and for each check with images a list of their files."""
    folder.clear()
    with folder.write("doctor.json") as part:
        write_json(part, found.to_json())
    lists: dict[str, dict[str, None]] = {}
    for finding, files in zip(found.findings, found.files, strict=True):
        lists.setdefault(finding.check, {}).update(dict.fromkeys(files))
    for check, files in lists.items():
        if files:
            with folder.write(f"files/{check}.txt") as part:
                part.write_text("".join(f"{file}\n" for file in files), "utf-8", "backslashreplace")


def _count(finding: Finding) -> int:
    return len({place[:3] for place in finding.places})


def _names(finding: Finding) -> str:
    names = [*dict.fromkeys(place.name for place in finding.places)]
    few = next((count for count in (FEW, 2) if len(", ".join(names[:count])) <= WIDTH), 1)
    return ", ".join(names[:few]) + (", ..." if len(names) > few else "")
