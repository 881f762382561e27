"""Classes that are missing or rare."""

from collections.abc import Iterator, Sequence

import numpy as np

from visiontasks.core.tables import some
from visiontasks.core.words import counted
from visiontasks.doctor.evidence import HELD_OUT, Evidence
from visiontasks.doctor.finding import Finding
from visiontasks.targets import target_kinds

FEW = 10  # images below which a class is rare, if others have more
RARE, RARER = 0.3, 0.1  # share of the median below which a class with few images, or any class, is rare
LISTED = 12  # classes whose weights are written out
PARTIAL = "Images without a usable annotation may show them: correct those first. "
HEADS = {"label": "LabelHead", "mask": "MaskHead"}


def count_classes(evidence: Evidence, split: str) -> dict[str, dict[str, int]]:
    """Returns the images (or pixels of masks) of a split with each class, by the key of the target."""
    dataset, found = evidence.datasets[split], {}
    for key in ("label", "labels", "objects"):
        counts = _counts(evidence, split, key)
        if counts is not None:
            found[key] = dict(zip(dataset.names(key), counts.tolist(), strict=True))
    masks = evidence.surveys[split].masks if split in evidence.surveys else []
    masks = [mask for mask in masks if mask and not mask.error]
    if masks:
        names = dataset.names("mask")
        found["mask"] = dict(zip(names, np.sum([mask.counts for mask in masks], 0)[: len(names)].tolist(), strict=True))
    return found


def check_classes(evidence: Evidence) -> Iterator[Finding]:
    """Finds classes without images in a split, and those with few in training."""
    train = count_classes(evidence, "train") if "train" in evidence.datasets else {}
    for key, counts in train.items():
        what = "pixels" if key == "mask" else "images"
        if missing := [name for name, count in counts.items() if not count]:
            fix = f"Add such {what}, or remove the classes: their names or folders. A head cannot learn them."
            message = f"{counted(len(missing), 'class', len(counts))} without {what} in train ({key}): {some(missing)}."
            partial = evidence.is_partial("train", key)
            yield Finding("missing_classes", "warning" if partial else "error", message, PARTIAL * partial + fix)
        yield from _rare(key, counts)
    for split in HELD_OUT:
        for key, counts in count_classes(evidence, split).items() if split in evidence.datasets else ():
            known = train.get(key, {})
            if missing := [name for name, count in counts.items() if not count and known.get(name)]:
                message = f"{counted(len(missing), 'class', len(counts))} not in {split} ({key}): {some(missing)}."
                fix = f"Move some of their images to {split}; until then it does not measure them."
                yield Finding("missing_classes", "warning", message, PARTIAL * evidence.is_partial(split, key) + fix)


def _rare(key: str, counts: dict[str, int]) -> Iterator[Finding]:
    present = {name: count for name, count in counts.items() if count}
    if len(present) < 2:
        return
    middle = float(np.median([*present.values()]))
    few = FEW if key != "mask" else 0
    rare = [n for n, c in present.items() if c < RARER * middle or c < min(few, RARE * middle)]
    if not rare:
        return
    rare.sort(key=present.__getitem__)
    what = "pixels" if key == "mask" else "images"
    shown = some([f"{name} {present[name]:,}" for name in rare])
    count = counted(len(rare), "class", len(counts))
    message = f"{count} with few {what} in train ({key}; the median is {middle:,.0f}): {shown}."
    severity = "note" if key == "mask" else "warning"
    yield Finding("rare_classes", severity, message, f"Add images with them{_weights(key, [*counts.values()])}.")


def _weights(key: str, counts: Sequence[int]) -> str:
    """Returns the line of a config that weighs the classes by the square root of the median over their frequency."""
    if key == "labels":
        loss = "{class_path: BinaryCrossEntropy, init_args: {class_weights: inverse}}"
        return f", or weigh them: `head: {{class_path: LabelsHead, init_args: {{loss: {loss}}}}}`"
    if key not in HEADS:
        return ""
    values = np.array(counts, float)
    weights = np.sqrt(np.median(values[values > 0]) / np.maximum(values, 1)).round(2).tolist()
    rule = str(weights) if len(weights) <= LISTED and min(counts) else "sqrt_median_frequency"
    loss = f"{{class_path: CrossEntropy, init_args: {{class_weights: {rule}}}}}"
    also = ", or draw them more often: `balance: true` in `data`" if key == "label" else ""
    return f", or weigh them: `head: {{class_path: {HEADS[key]}, init_args: {{loss: {loss}}}}}`{also}"


def _counts(evidence: Evidence, split: str, key: str) -> np.ndarray | None:
    """Counts the images with each class of a target; None if the set does not have it."""
    names, values = evidence.datasets[split].names(key), [t[key] for t in evidence.targets[split] if key in t]
    if not names or not values or not target_kinds()[key].occurrence:
        return None
    if key == "label":
        return np.bincount(values, minlength=len(names))
    if key == "labels":
        return (np.stack(values) == 1).sum(0)
    present = [np.unique(one["labels"][~one["crowd"]]) for one in values]
    return np.bincount(np.concatenate([*present, np.empty(0, int)]).astype(int), minlength=len(names))
