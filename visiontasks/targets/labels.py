"""`labels`: any number of classes per image."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import Sample
from visiontasks.targets.base import Difference, Known, Target
from visiontasks.targets.label import SCORES, mean_of_known
from visiontasks.targets.precision import average_precision, linear_precision

BLOCK = 500_000  # weights that are sorted at a time: they fit in the cache


class LabelsTarget(Target):
    """Any number of classes per image: float32 (classes,), 0 or 1, NaN where it is unknown; in a batch (B, classes).

    Output: float32 (2, classes), the probability of each class and the threshold from which on it is predicted.
    """

    key, names_key, monitor, additive = "labels", "labels_names", "map", False
    occurrence, decides, details = "positives", True, ("micro_f1",)
    exact_up_to = 50_000_000  # about a second

    def missing(self, size: tuple[int, int], names: Sequence[str]) -> np.ndarray:
        return np.full(len(names), np.nan, np.float32)

    def at_threshold(self, outputs: np.ndarray, threshold: float) -> np.ndarray:
        return np.stack([outputs[:, 0], np.full_like(outputs[:, 1], threshold)], 1)

    def prediction(self, output: np.ndarray, frame: Frame, names: Sequence[str]) -> Sample:
        """Makes `labels`, float32 (classes,), 0 or 1, and `labels_probabilities` and `labels_thresholds`, of the same
        shape."""
        probabilities, thresholds = output
        labels = (probabilities >= thresholds).astype(np.float32)
        return {"labels": labels, "labels_probabilities": probabilities, "labels_thresholds": thresholds}

    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        shares = zip(names, prediction["labels_probabilities"].tolist(), strict=True)
        chosen = "; ".join(_chosen(prediction["labels"], names))
        return [{"labels": chosen, **{f"probability of {name}": round(share, 6) for name, share in shares}}]

    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        canvas.caption(", ".join(_chosen(sample["labels"], names)))

    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Counts the images with each class and those where it is known: `positives` and `known`, int64 (classes,)."""
        every = np.stack([value for value, _, _ in values])
        return {"positives": np.nansum(every, 0).astype(np.int64), "known": np.isfinite(every).sum(0)}

    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the share of the training images with each class, and the threshold 0.5."""
        shares = summary["positives"] / np.maximum(summary["known"], 1)
        return np.stack([shares, np.full_like(shares, 0.5)]).astype(np.float32)

    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        """Lists the probability, the true value (NaN where it is unknown) and the threshold of each class."""
        true = truth.get("labels", self.missing((0, 0), names))
        rows = [prediction["labels_probabilities"], true, prediction["labels_thresholds"]]
        return np.stack(rows).astype(np.float64)

    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Computes mean average precision over the classes that occur (without interpolation, ties taken together), F1
        averaged over these classes, and F1 of all decisions (`micro_f1`).

        If the draws are not exact (see `is_exact`), average precision is that of `linear_precision`.
        """
        draws = (np.ones((1, len(counts))) if times is None else times).astype(np.float32)  # exact below 2**24
        probability, true, threshold = counts.swapaxes(0, 1)
        known, positive = np.isfinite(true), true == 1
        taken = (probability >= threshold) & known
        parts = (positive & taken, positive, taken)
        both, occurs, chosen = ((draws @ part.astype(np.float32)).astype(float) for part in parts)
        with np.errstate(invalid="ignore", divide="ignore"):
            if times is None or self.is_exact(counts, len(draws)):
                ap = _precisions(probability, positive, known, draws.astype(float))
            else:
                ap = np.where(occurs > 0, _products(probability, positive, known, draws) / occurs, np.nan)
            f1 = np.where(occurs > 0, 2 * both / (occurs + chosen), np.nan)
            found = {
                "map": mean_of_known(ap),
                "f1": mean_of_known(f1),
                "micro_f1": 2 * both.sum(1) / (occurs + chosen).sum(1),
                "class/ap": ap,
                "class/f1": f1,
                "class/precision": both / chosen,
                "class/recall": both / occurs,
            }
        return found if times is not None else {name: values[0] for name, values in found.items()}

    def sizes(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        probability, true, threshold = counts.swapaxes(0, 1)
        known, positive, taken = np.isfinite(true), true == 1, probability >= threshold
        each = {
            "class/ap": positive,
            "class/f1": positive | (taken & known),
            "class/precision": taken & known,
            "class/recall": positive,
        }
        whole = dict.fromkeys(("map", "f1", "micro_f1"), known.any(1))
        return {name: part.sum(0) for name, part in (whole | each).items()}

    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        far = np.abs(expected["labels_probabilities"] - found["labels_probabilities"])
        near = np.abs(expected["labels_probabilities"] - expected["labels_thresholds"]) <= SCORES  # may fall either way
        wrong = ((expected["labels"] != found["labels"]) & ~near).sum()
        return [Difference("labels", float(wrong), 0), Difference("probability", float(far.max()), SCORES)]


def _precisions(probability: np.ndarray, positive: np.ndarray, known: np.ndarray, draws: np.ndarray) -> np.ndarray:
    columns = list(zip(probability.T, positive.T, known.T, strict=True))
    blocks = np.array_split(draws, 1 + draws.size // BLOCK)
    each = [[average_precision(p[here], true[here], block[:, here]) for p, true, here in columns] for block in blocks]
    return np.concatenate([np.stack(found, 1) for found in each])


def _products(probability: np.ndarray, positive: np.ndarray, known: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Returns average precision times positives, (draws, classes), to first order."""
    slopes, weights = np.zeros(probability.shape, np.float32), np.ascontiguousarray(draws.T)
    found = np.empty((probability.shape[1], len(draws)))
    for i, here in enumerate(known.T):
        p, true = probability[here, i], positive[here, i]
        found[i], slopes[here, i] = linear_precision(p, true, weights, here.nonzero()[0])
    return found.T + draws @ slopes - slopes.sum(0)


def _chosen(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    return [name for name, label in zip(names, labels, strict=True) if label == 1]
