"""The tables of a report."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from visiontasks.core.tables import shown
from visiontasks.data import VisionDataModule
from visiontasks.evaluate import Counts, Interval, bootstrap
from visiontasks.evaluate.rows import Row
from visiontasks.report.quality import LESS_IS_BETTER, occurrence
from visiontasks.report.slices import Slice
from visiontasks.targets import find_target


def figure_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns the figures of whole sets from those of `figure_rows`, without those that are unknown."""
    found = []
    for row in rows:
        value, baseline = (float(row[name]) for name in ("value", "baseline"))
        if not row["class"] and math.isfinite(value):
            low, high = (float(row[name]) for name in ("low", "high"))
            found.append({**row, "value": value, "interval": interval(low, high), "baseline": shown(baseline)})
    return found


def class_table(key: str, rows: Sequence[Row], images: np.ndarray, shares: dict[str, float]) -> dict[str, Any]:
    """Returns the figures of each class.

    Args:
        key: Key of the target.
        rows: Those of `figure_rows`.
        images: Number of images of the split with each class; empty if these are not classes.
        shares: Share of the training set of each class; may be empty.
    """
    own = [row for row in rows if row["key"] == key and row["class"]]
    metrics = list(dict.fromkeys(str(row["metric"]) for row in own))
    names = list(dict.fromkeys(str(row["class"]) for row in own))
    table: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for row in own:
        value, low, high = (float(row[name]) for name in ("value", "low", "high"))
        known = math.isfinite(value)
        cell = {"value": value if known else None, "text": shown(value), "interval": interval(low, high)}
        table[str(row["class"])].append(cell)
    lines = []
    for place, name in enumerate(names):
        number = int(images[place]) if len(images) else None
        lines.append({"name": name, "images": number, "share": shares.get(name), "cells": table[name]})
    return {"metrics": metrics, "rows": lines, "has_images": bool(len(images)), "has_shares": bool(shares)}


def data_table(data: VisionDataModule, keys: Sequence[str], counts: Counts, split: str) -> list[dict[str, Any]]:
    """Returns the classes of each target with their share of the training set and the images of the split."""
    found = []
    for key in keys:
        shares = data.class_shares(key)
        images = occurrence(key, counts[key]).sum(0)
        if shares:
            rows = [
                {"name": name, "share": share, "images": int(images[place])}
                for place, (name, share) in enumerate(shares.items())
            ]
            unit = "pixels" if find_target(key).dense else "images"
            found.append({"key": key, "unit": unit, "split": split, "rows": rows, "most": max(shares.values()) or 1})
    return found


def slice_table(slices: Sequence[Slice]) -> list[dict[str, Any]]:
    """Returns the slices as texts."""
    return [
        {
            "title": one.part.title,
            "value": one.part.value,
            "images": int(one.part.inside.sum()),
            "figure": shown(one.value),
            "rest": shown(one.rest),
            "effect": f"{one.effect.value:+.4f}",
            "interval": interval(*one.effect[1:], sign="+"),
            "worse": one.clarity > 0,
        }
        for one in slices
    ]


def difference_table(counts: Sequence[Counts], draws: int) -> list[dict[str, Any]]:
    """Returns the figures of whole sets of several models, with the paired difference of each to the first."""
    found = []
    for key in counts[0]:
        alone = [bootstrap(key, one[key], draws) for one in counts]
        paired = [bootstrap(key, counts[0][key], draws, one[key]) for one in counts[1:]]
        for metric in alone[0]:
            if metric.startswith("class/") or not math.isfinite(alone[0][metric][0].value):
                continue
            cells = [_cell(one[metric][0]) for one in alone]
            for cell, one in zip(cells[1:], paired, strict=True):
                difference = one[metric][0]
                cell["difference"] = f"{difference.value:+.4f}"
                cell["difference_interval"] = interval(difference.low, difference.high, sign="+")
                gain = -1 if metric in LESS_IS_BETTER else 1
                sure = difference.low > 0 or difference.high < 0
                cell["change"] = ("better" if difference.value * gain > 0 else "worse") if sure else ""
            found.append({"key": key, "metric": metric, "cells": cells})
    return found


def interval(low: float, high: float, sign: str = "") -> str:
    """Returns an interval as a text, empty if it is unknown."""
    return f"{low:{sign}.4f} to {high:{sign}.4f}" if math.isfinite(low) and math.isfinite(high) else ""


def _cell(one: Interval) -> dict[str, Any]:
    return {"text": shown(one.value), "interval": interval(one.low, one.high)}
