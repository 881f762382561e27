"""`value`: one or more numbers per image."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from visiontasks.core.draw import Canvas
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import Sample
from visiontasks.targets.base import Difference, Known, Target
from visiontasks.targets.label import mean_of_known

RELATIVE, ABSOLUTE = 1e-3, 1e-3  # how much a number of an exported model may differ
ROUNDING = 1e-12  # share of the squares that a spread of nothing but rounding errors may have


class ValueTarget(Target):
    """One or more numbers per image: float32 (K,), NaN where one is unknown; in a batch (B, K). Output: the same."""

    key, names_key, monitor, bounded = "value", "value_names", "r2", False

    def missing(self, size: tuple[int, int], names: Sequence[str]) -> np.ndarray:
        return np.full(len(names), np.nan, np.float32)

    def prediction(self, output: np.ndarray, frame: Frame, names: Sequence[str]) -> Sample:
        """Makes `value`, float32 (K,)."""
        return {self.key: output}

    def rows(self, prediction: Sample, names: Sequence[str]) -> list[dict[str, Any]]:
        return [{name: float(f"{value:.6g}") for name, value in zip(names, prediction[self.key], strict=True)}]

    def draw(self, canvas: Canvas, sample: Sample, names: Sequence[str]) -> None:
        for name, value in zip(names, sample[self.key], strict=True):
            if np.isfinite(value):
                canvas.caption(f"{name} {value:.4g}")

    def summary(self, values: Iterable[Known], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Computes `mean` and `std` of each number over the images in which it is known, float64 (K,)."""
        every = np.stack([value for value, _, _ in values]).astype(np.float64)
        mean = mean_of_known(every.T)
        return {"mean": mean, "std": np.sqrt(mean_of_known((every - mean).T ** 2))}

    def baseline(self, summary: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the mean of the training set."""
        return summary["mean"].astype(np.float32)

    def counts(self, truth: Sample, prediction: Sample, names: Sequence[str]) -> np.ndarray:
        """Counts each known number, its value, its square, the absolute error and the squared error."""
        true = np.asarray(truth.get(self.key, self.missing((0, 0), names)), np.float64)
        error = prediction[self.key] - true
        rows = np.stack([np.ones(len(names)), true, true**2, np.abs(error), error**2])
        return np.where(np.isfinite(true), rows, 0)

    def figures(self, counts: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Computes R2, the mean absolute and the root mean squared error, each averaged over the K numbers."""
        number, total, squares, absolute, squared = self.totals(counts, times)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = squares / number - (total / number) ** 2
            r2 = np.where(spread > ROUNDING * squares / number, 1 - squared / number / spread, np.nan)
            each = {"r2": r2, "mae": absolute / number, "rmse": np.sqrt(squared / number)}
        means = {name: mean_of_known(values) for name, values in each.items()}
        return means | {f"class/{name}": values for name, values in each.items()}

    def compare(self, expected: Sample, found: Sample) -> list[Difference]:
        far = np.abs(expected[self.key] - found[self.key]) / (ABSOLUTE + np.abs(expected[self.key]))
        return [Difference("relative difference of a value", float(far.max()), RELATIVE)]
