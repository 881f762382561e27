"""`label`: one class per image."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import IGNORE_LABEL, Sample
from visiontasks.targets.base import Difference, Known, Target

SCORES = 0.01  # how much a probability of an exported model may differ


class LabelTarget(Target):
    """One class per image: an int; in a batch int64 (B,), -100 where it is missing.

    Output: float32 (classes,), probabilities.
    """

    key, monitor = "label", "accuracy"
    occurrence = "counts"

    def missing(self, size: tuple[int, int], names: Sequence[str]) -> int:
        return IGNORE_LABEL

    def prediction(self, output: np.ndarray, frame: Frame, names: Sequence[str]) -> Sample:
        """Makes `label` (int), `class_name`, `score` (0..1) and `probabilities`, float32 (classes,)."""
        label = int(output.argmax())
        return {"label": label, "class_name": names[label], "score": float(output[label]), "probabilities": output}

    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        shares = zip(names, prediction.get("probabilities", ()), strict=False)
        score = {"score": round(float(prediction["score"]), 6)} if "score" in prediction else {}
        probabilities = {f"probability of {name}": round(float(share), 6) for name, share in shares}
        name = names[prediction["label"]] if prediction["label"] >= 0 else None
        return [{"label": name, **score, **probabilities}]

    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        if sample["label"] >= 0:
            score = f" {sample['score']:.2f}" if "score" in sample else ""
            canvas.caption(names[int(sample["label"])] + score)

    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Counts the images of each class: `counts`, int64 (classes,).

        Raises:
            InputError: A label is not the index of a class.
        """
        counts = np.zeros(len(names), np.int64)
        for label, _, name in values:
            if not 0 <= label < len(names):
                raise InputError(f"{name}: label {label} is not an index of the {len(names)} classes, from 0 on.")
            counts[label] += 1
        return {"counts": counts}

    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the share of each class in the training set: its best guess is the majority class."""
        return (summary["counts"] / summary["counts"].sum()).astype(np.float32)

    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        true = [truth["label"]] if truth.get("label", IGNORE_LABEL) >= 0 else []
        return count_classes(np.array(true, int), np.array([prediction["label"]] * len(true), int), len(names))

    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        true, taken, right = self.totals(counts, times)
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = 2 * right / (true + taken)
            return {
                "accuracy": right.sum(-1) / true.sum(-1),
                "f1": mean_of_known(f1),
                "class/recall": right / true,
                "class/precision": right / taken,
                "class/f1": f1,
            }

    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        far = float(np.abs(expected["probabilities"] - found["probabilities"]).max())
        wrong = expected["label"] != found["label"]
        return [Difference("label", float(wrong), 0), Difference("probability", far, SCORES)]


def count_classes(true: np.ndarray, taken: np.ndarray, classes: int) -> np.ndarray:
    """Counts how many labels or pixels, int (n,), are of each class, are taken for it, and rightly: (3, classes)."""
    kinds = (true, taken, true[true == taken])
    return np.stack([np.bincount(kind, minlength=classes) for kind in kinds]).astype(np.float64)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Averages over the last axis without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(-1) / known.sum(-1)
