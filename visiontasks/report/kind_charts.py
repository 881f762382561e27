"""Charts of each target kind: calibration, precision and recall, overlaps, residuals."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from visiontasks.report.charts import COLORS, MOST_POINTS, Series, chart, histogram
from visiontasks.report.gather import Images
from visiontasks.report.quality import quality_of
from visiontasks.targets import find_target
from visiontasks.targets.coco import IOUS, ranked

CALIBRATION_BINS = 15  # as in the figure `ece` of a test
SHARE = (0.0, 1.0)

Charts = Iterator[dict[str, Any]]
Curve = tuple[str, float, list[tuple[float, float]]]


def charts_of(key: str, images: Images, names: list[str]) -> list[dict[str, Any]]:
    """Returns the charts of a target, which is none for a kind of the user's own."""
    return [*MAKERS[key](key, images, names)] if key in MAKERS else []


def calibration(score: np.ndarray, right: np.ndarray) -> tuple[float, list[tuple[float, float, float, int]]]:
    """Computes the expected calibration error (Guo et al. 2017, eq. 3) and its bins.

    Args:
        score: Of the predicted class, 0..1, (N,).
        right: Whether it is the true class, bool (N,).

    Returns:
        The error; and of each bin that is not empty its ends, the share of right predictions, and their number.
    """
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    place = np.clip(np.digitize(score, edges) - 1, 0, CALIBRATION_BINS - 1)
    bins, error = [], 0.0
    for number in np.unique(place):
        inside = place == number
        share = float(right[inside].mean())
        error += float(inside.mean()) * abs(share - float(score[inside].mean()))
        bins.append((float(edges[number]), float(edges[number + 1]), share, int(inside.sum())))
    return error, bins


def _reliability(key: str, images: Images, names: list[str]) -> Charts:
    counts, score = images.counts[key], images.scores
    known = (counts[:, 0].sum(1) > 0) & np.isfinite(score)
    if not known.any():
        return
    error, bins = calibration(score[known], counts[known, 2].sum(1) > 0)
    note = f"Expected calibration error (ECE) {error:.4f}. Bars below the line: the model is too sure."
    series = [
        Series("share of right predictions", [bin_[:3] for bin_ in bins], kind="bars"),
        Series("perfect calibration", [(0, 0), (1, 1)], "quiet", "dashed"),
    ]
    yield chart("Reliability", "score of the prediction", "share that is right", series, SHARE, SHARE, note)
    right = counts[:, 2].sum(1) > 0
    parts = [("right", known & right, "third"), ("wrong", known & ~right, "second")]
    bars = [Series(title, histogram(score[part], 20, SHARE), color, "bars") for title, part, color in parts]
    yield chart("Scores", "score of the prediction", "images", bars, SHARE)


def _precision_recall(key: str, images: Images, names: list[str]) -> Charts:
    curves = [*CURVES[key](images.counts[key], names)]
    if not curves:
        return
    curves = sorted(curves, key=lambda curve: curve[1])
    shown = [Series(f"{name} {ap:.3f}", points, COLORS[i], "steps") for i, (name, ap, points) in enumerate(curves[:6])]
    rest = [Series("", points, "quiet", "steps") for _, _, points in curves[6:]]
    note = "Named are the classes of the lowest average precision." if rest else "With the average precision."
    title = "Precision and recall" + (" at an IoU of 0.5" if key == "objects" else "")
    yield chart(title, "recall", "precision", [*rest, *shown], SHARE, SHARE, note)


def _label_curves(counts: np.ndarray, names: list[str]) -> Iterator[Curve]:
    ap = find_target("labels").figures(counts)["class/ap"]
    for place, name in enumerate(names):
        probability, true = counts[:, 0, place], counts[:, 1, place]
        known = np.isfinite(true)
        if np.isfinite(ap[place]):
            yield name, float(ap[place]), curve(probability[known], true[known] == 1, int((true == 1).sum()))


def _object_curves(counts: np.ndarray, names: list[str]) -> Iterator[Curve]:
    ap = find_target("objects").figures(counts)["class/ap50"]
    for place, (name, found) in enumerate(zip(names, ranked(counts), strict=True)):
        counted = ~found.ignored[:, 0, 0]
        if np.isfinite(ap[place]):
            right, total = found.right[counted, 0, 0], int(found.true[:, 0].sum())
            yield name, float(ap[place]), curve(found.score[counted], right, total)


def curve(score: np.ndarray, right: np.ndarray, total: int) -> list[tuple[float, float]]:
    """Returns recall and precision at each threshold, from the highest score on; equal scores make one point.

    Args:
        score: Of each decision, (N,).
        right: Which are right, bool (N,).
        total: Number of true ones.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)[: len(order)]
    hits = right[order].cumsum()[last]
    precision = hits / (np.arange(len(order)) + 1)[last]
    return [*zip((hits / total).tolist(), precision.tolist(), strict=True)]


def _overlaps(key: str, images: Images, names: list[str]) -> Charts:
    values = quality_of(key, images.counts[key]).of_images()
    what = "IoU of the box" if key == "bbox" else "mean IoU of the classes in the image"
    note = f"Median {np.nanmedian(values):.3f}." if np.isfinite(values).any() else ""
    series = [Series("images", histogram(values, 20, SHARE), kind="bars")]
    yield chart("Overlap with the truth", what, "images", series, SHARE, note=note)


def _object_charts(key: str, images: Images, names: list[str]) -> Charts:
    yield from _precision_recall(key, images, names)
    reached, missed = np.zeros(len(IOUS)), 0
    for found in ranked(images.counts[key]):
        taken = found.taken & ~found.ignored[:, 0, 0]
        levels = found.right[taken, 0].sum(1)
        reached += np.bincount(levels, minlength=len(IOUS) + 1)[1:]
        missed += int((levels == 0).sum())
    bars = [(low, low + 0.05, number) for low, number in zip(IOUS.tolist(), reached.tolist(), strict=True)]
    note = f"{missed} of {int(reached.sum()) + missed} decisions overlap no free object of their class by 0.5."
    series = [Series("decisions", bars, kind="bars")]
    yield chart("Overlap of found objects", "IoU with the true object", "objects", series, (0.5, 1.0), note=note)


def _residuals(key: str, images: Images, names: list[str]) -> Charts:
    for place, name in enumerate(names):
        known = images.counts[key][:, 0, place] > 0
        true, found = images.counts[key][known, 1, place], images.values[known, place]
        if not len(true):
            continue
        ends = (float(min(true.min(), found.min())), float(max(true.max(), found.max())))
        dots = Series("images", [*zip(true.tolist(), found.tolist(), strict=True)], kind="dots")
        line = Series("perfect", [(ends[0], ends[0]), (ends[1], ends[1])], "quiet", "dashed")
        yield chart(f"{name}: truth and prediction", "truth", "prediction", [line, dots], ends, ends)
        drawn = f" {MOST_POINTS:,} of {len(true):,} images are drawn." if len(true) > MOST_POINTS else ""
        left = found - true
        dots = Series("images", [*zip(true.tolist(), left.tolist(), strict=True)], kind="dots")
        zero = Series("", [(ends[0], 0), (ends[1], 0)], "quiet", "dashed")
        note = f"Mean residual {left.mean():.4g}.{drawn}"
        yield chart(f"{name}: residuals", "truth", "prediction minus truth", [zero, dots], ends, note=note)


MAKERS: dict[str, Callable[[str, Images, list[str]], Charts]] = {
    "label": _reliability,
    "labels": _precision_recall,
    "value": _residuals,
    "bbox": _overlaps,
    "mask": _overlaps,
    "objects": _object_charts,
}
CURVES: dict[str, Callable[[np.ndarray, list[str]], Iterator[Curve]]] = {
    "labels": _label_curves,
    "objects": _object_curves,
}
