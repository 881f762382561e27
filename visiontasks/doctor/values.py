"""Numbers that cannot be learned, or that are probably typing errors."""

from collections.abc import Iterator

import numpy as np

from visiontasks.core.words import counted, verb
from visiontasks.doctor.evidence import HELD_OUT, Evidence
from visiontasks.doctor.finding import Finding, Place

FAR = 20  # interquartile ranges between a number and the middle half of all, from which on it is odd
OTHER = 10  # times that the spread of a split differs from that of train
FEWEST = 10  # numbers whose range can be told


def check_values(evidence: Evidence) -> Iterator[Finding]:
    """Finds numbers that are constant, far from all others, missing in a split, or of another unit there."""
    train = _values(evidence, "train") if "train" in evidence.datasets else None
    if train is None:
        return
    for column, name in enumerate(evidence.datasets["train"].names("value")):
        own = _known(train[:, column])
        if len(own) and np.ptp(own) == 0:
            message = f"{name} is {own[0]:g} in all images of train."
            fix = "A head cannot learn a constant: give images with other values, or leave it out."
            yield Finding("constant_values", "error", message, fix)
            continue
        yield from _far(evidence, column, name, own)
        for split in HELD_OUT:
            yield from _unlike(evidence, split, column, name, own)


def _values(evidence: Evidence, split: str) -> np.ndarray | None:
    """Returns the numbers of each image of a split, (N, columns), NaN where they are not known; None without any."""
    found = [target.get("value") for target in evidence.targets[split]]
    columns = len(evidence.datasets[split].names("value"))
    if not columns:
        return None
    return np.array([np.full(columns, np.nan) if value is None else value for value in found], float)


def _known(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _far(evidence: Evidence, column: int, name: str, own: np.ndarray) -> Iterator[Finding]:
    if len(own) < FEWEST:
        return
    low, high = np.quantile(own, (0.25, 0.75))
    reach = FAR * (high - low or np.ptp(own) / len(own))
    places: list[Place] = []
    for split in evidence.datasets:
        values = _values(evidence, split)
        if values is not None:
            odd = np.flatnonzero((values[:, column] < low - reach) | (values[:, column] > high + reach))
            places += [evidence.place(split, i, f"{name} {values[i, column]:g}") for i in odd]
    if places:
        are = f"{counted(len(places), 'image')} {verb(len(places), 'has', 'have')}"
        message = f"{are} a {name} far from all others; half of them are {low:g} to {high:g}."
        fix = "Correct what is a typing error or a code for unknown (leave such cells empty)."
        yield Finding("far_values", "warning", message, fix, places)


def _unlike(evidence: Evidence, split: str, column: int, name: str, own: np.ndarray) -> Iterator[Finding]:
    values = _values(evidence, split) if split in evidence.datasets else None
    if values is None:
        return
    other = _known(values[:, column])
    if not len(other):
        fix = f"Give it for some images of {split}: without it, the split measures nothing."
        yield Finding("missing_values", "error", f"{name} is known for no image of {split}.", fix)
    elif min(len(own), len(other)) >= FEWEST:
        spreads = [np.subtract(*np.quantile(part, (0.75, 0.25))) for part in (own, other)]
        if min(spreads) * OTHER < max(spreads):
            ranges = ["{:g} to {:g}".format(*np.quantile(part, (0.25, 0.75))) for part in (own, other)]
            message = f"Half of the values of {name} are {ranges[0]} in train, and {ranges[1]} in {split}."
            yield Finding("other_unit", "warning", message, "Check that both have the same unit.")
