"""Curves of a training from its metrics.csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visiontasks.core.files import read_csv
from visiontasks.report.charts import COLORS, MODELS, Series, chart

RATE = "lr-"  # columns of Lightning's LearningRateMonitor

Rows = list[dict[str, str]]


def curve_charts(runs: Sequence[tuple[str, Path]], monitor: str) -> list[dict[str, Any]]:
    """Returns the charts of the loss, the monitored figure, and the learning rate if it was logged.

    Args:
        runs: The name of each run and its metrics.csv, which may be missing.
        monitor: The monitored figure, such as `accuracy`.
    """
    read = [(name, read_csv(path)) for name, path in runs]
    found = [
        chart("Loss", "epoch", "loss", _of_stages(read, "loss")),
        chart(monitor, "epoch", monitor, _with_baseline(_of_stages(read, monitor), read[0][1], monitor)),
        chart("Learning rate", "step", "learning rate", _rates(read)),
    ]
    return [one for one in found if one["series"]]


def _of_stages(runs: Sequence[tuple[str, Rows]], name: str) -> list[Series]:
    """One color per stage for one run, one per run for several, whose training is dashed."""
    found = []
    for number, (run, rows) in enumerate(runs):
        for place, stage in enumerate(("train", "val")):
            alone, color = len(runs) == 1, MODELS[number % len(MODELS)]
            title = stage if alone else f"{run} {stage}"
            kind = "dashed" if stage == "train" and not alone else "line"
            found.append(Series(title, _points(rows, f"{stage}/{name}"), COLORS[place] if alone else color, kind))
    return found


def _with_baseline(curves: list[Series], rows: Rows, monitor: str) -> list[Series]:
    """Adds the baseline of a run, which is the same in each epoch, over the epochs of all curves."""
    known = _points(rows, f"val/{monitor}_baseline")
    epochs = [point[0] for curve in curves for point in curve.points]
    if not known or not epochs:
        return curves
    first, last = min(epochs), max(epochs)
    ends = (first, last) if first < last else (first - 0.5, last + 0.5)
    return [*curves, Series("baseline", [(epoch, known[-1][1]) for epoch in ends], "quiet", "dashed")]


def _rates(runs: Sequence[tuple[str, Rows]]) -> list[Series]:
    found = []
    for run, rows in runs:
        for name in dict.fromkeys(name for row in rows for name in row if name.startswith(RATE)):
            title = name.removeprefix(RATE) if len(runs) == 1 else f"{run} {name.removeprefix(RATE)}"
            found.append(Series(title, _points(rows, name, "step", 0), COLORS[len(found) % len(COLORS)]))
    return found


def _points(rows: Rows, name: str, x: str = "epoch", start: int = 1) -> list[tuple[float, float]]:
    return [
        (int(row[x]) + start, value) for row in rows if row.get(x) and (value := _number(row.get(name))) is not None
    ]


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # an empty cell, or the last row of a run that was killed
        return None
