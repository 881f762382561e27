"""Whether a prediction of one image is right, in a word, or how good it is, in a figure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.sample import Sample
from visiontasks.targets import find_target, names_of, target_kinds

DECIDED = ("accuracy", "micro_f1", "presence")  # 1 if all decisions of an image are right
MEASURED = {"iou": "IoU", "miou": "mIoU"}


class Verdict(NamedTuple):
    """A short text, and whether the prediction is right; None where there is more than right and wrong."""

    text: str
    is_right: bool | None = None


def judge_all(target: Sample, prediction: Sample, spec: dict[str, Any]) -> Verdict:
    """Judges a prediction of all heads, which is wrong if that of one head is; see `judge`."""
    keys = [key for key in target_kinds() if key in target and key in prediction]
    parts = [judge(key, target, prediction, names_of(spec, key)) for key in keys]
    known = [part.is_right for part in parts if part.is_right is not None]
    return Verdict(", ".join(part.text for part in parts if part.text), all(known) if known else None)


def judge(key: str, target: Sample, prediction: Sample, names: Sequence[str]) -> Verdict:
    """Judges the prediction of one head for an image; the text is empty if the truth is not known.

    Classes are `right` or `wrong`. Objects are right if each is found with its class and no other is predicted; the
    text counts them. A box and a mask have a figure, numbers their absolute
    errors.
    """
    kind = find_target(key)
    counts = kind.counts(target, prediction, names)[None]
    for matrix in kind.matrices(counts).values():
        return _of_objects(matrix)
    figures = kind.figures(counts)
    known = {name: float(value) for name, value in figures.items() if not value.ndim and np.isfinite(value)}
    decided = [known[name] == 1 for name in DECIDED if name in known]
    measured = [f"{title} {known[name]:.2g}" for name, title in MEASURED.items() if name in known]
    if key == "value":
        return Verdict(_of_numbers(figures["class/mae"], names))
    if measured and all(decided):
        return Verdict(measured[0])
    return Verdict("right" if all(decided) else "wrong", all(decided)) if decided else Verdict("")


def _of_numbers(errors: np.ndarray, names: Sequence[str]) -> str:
    """Returns the error of each known number, for their units may differ."""
    known = [f"{name} {error:.2g}" for name, error in zip(names, errors, strict=True) if np.isfinite(error)]
    if len(names) == 1:
        known = [text.removeprefix(f"{names[0]} ") for text in known]
    return f"absolute error {', '.join(known)}" if known else ""


def _of_objects(matrix: np.ndarray) -> Verdict:
    right, true, extra = int(matrix[:-1, :-1].trace()), int(matrix[:-1].sum()), int(matrix[-1].sum())
    text = f"{right} of {true} found" + (f", {extra} extra" if extra else "")
    return Verdict(text, right == true and not extra)
