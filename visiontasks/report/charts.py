"""Charts as places in a picture of 480 x 260 units, which a template draws as SVG."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 40  # margins
MOST_POINTS = 1000  # of a series
MOST_MARKS = 30  # points of a line that are also drawn as dots
WHOLE = ("epoch", "step")  # axes of integers
COLORS = ("first", "second", "third", "fourth", "fifth", "sixth")
MODELS = ("second", "first", "fourth", "fifth", "sixth", "seventh")  # of compared ones, also in pictures (report.css)

Range = tuple[float, float]


class Series(NamedTuple):
    """Points of a chart.

    Attributes:
        title: Its name in the legend; without one it is not there.
        points: x and y; of bars three values each: left, right and height.
        color: A name of `COLORS` or `MODELS`, or `quiet`.
        kind: How it is drawn.
    """

    title: str
    points: Sequence[Sequence[float]]
    color: str = "first"
    kind: Literal["line", "dashed", "dots", "bars", "steps"] = "line"


def chart(
    title: str,
    x: str,
    y: str,
    series: Sequence[Series],
    x_range: Range | None = None,
    y_range: Range | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Places series in a picture.

    Args:
        title: What the chart shows.
        x, y: Names of the axes.
        series: What is drawn; points that are not finite are left out.
        x_range, y_range: Ends of the axes; by default those of the points.
        note: Text below the chart.

    Returns:
        What the template needs, in units of the picture.
    """
    finite = [[point for point in one.points if all(map(math.isfinite, point))] for one in series]
    x_values = [value for points in finite for point in points for value in point[:-1]]
    y_values = [point[-1] for points in finite for point in points]
    if any(one.kind == "bars" for one in series):
        y_values.append(0)
    x_range, y_range = _widened(x_range or _ends(x_values)), _widened(y_range or _ends(y_values))
    drawn = [
        {"title": one.title, "color": one.color, "kind": one.kind, **_placed(one, points, x_range, y_range)}
        for one, points in zip(series, finite, strict=True)
        if points
    ]
    return {
        **{"title": title, "x": x, "y": y, "note": note, "series": drawn},
        "x_ticks": [
            {"place": round(_across(value, x_range), 1), "text": text} for value, text in ticks(*x_range, x in WHOLE)
        ],
        "y_ticks": [{"place": round(_up(value, y_range), 1), "text": text} for value, text in ticks(*y_range)],
    }


def histogram(values: np.ndarray, bins: int = 20, ends: Range | None = None) -> list[list[float]]:
    """Returns bars that count values, float (N,), in equal bins."""
    known = values[np.isfinite(values)]
    counts, edges = np.histogram(known, bins, ends)
    return [[low, high, count] for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)]


def thinned(points: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """Returns at most a thousand points of a curve, evenly chosen, with both ends."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[place] for place in np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)]


def ticks(low: float, high: float, whole: bool = False, most: int = 6) -> list[tuple[float, str]]:
    """Returns round numbers in a range, about `most` or, of `whole` numbers, perhaps fewer, and their texts."""
    rough = max((high - low) / most, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    small, large = (digits > 4, max(abs(low), abs(high)) >= 1e5)
    return [(n * step, f"{n * step:.3g}" if small or large else f"{n * step:.{digits}f}") for n in places]


def _ends(values: Sequence[float]) -> Range:
    return (min(values), max(values)) if values else (0.0, 1.0)


def _widened(ends: Range) -> Range:
    low, high = ends
    return (low, high) if high > low else (low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5))


def _across(value: float, ends: Range) -> float:
    return LEFT + (value - ends[0]) / (ends[1] - ends[0]) * (WIDTH - LEFT - RIGHT)


def _up(value: float, ends: Range) -> float:
    return HEIGHT - BOTTOM - (value - ends[0]) / (ends[1] - ends[0]) * (HEIGHT - TOP - BOTTOM)


def _placed(one: Series, points: Sequence[Sequence[float]], x_range: Range, y_range: Range) -> dict[str, Any]:
    if one.kind == "bars":
        return {"bars": [_bar(bar, x_range, y_range) for bar in points]}
    places = [(round(_across(x, x_range), 1), round(_up(y, y_range), 1)) for x, y in thinned(points)]
    if one.kind == "dots":
        return {"path": "".join(f"M{x},{y}h0" for x, y in places), "marks": ""}
    if one.kind == "steps":
        return {"path": f"M{places[0][0]},{places[0][1]}" + "".join(f"H{x}V{y}" for x, y in places[1:]), "marks": ""}
    marked = len(places) == 1 or (len(places) <= MOST_MARKS and one.kind == "line")  # one point alone has no line
    marks = "".join(f"M{x},{y}h0" for x, y in places) if marked else ""
    return {"path": f"M{'L'.join(f'{x},{y}' for x, y in places)}", "marks": marks}


def _bar(bar: Sequence[float], x_range: Range, y_range: Range) -> dict[str, Any]:
    left, right, high = _across(bar[0], x_range), _across(bar[1], x_range), _up(bar[2], y_range)
    text = f"{bar[0]:.3g} to {bar[1]:.3g}: {bar[2]:.3g}"
    size = {"width": round(max(1.0, right - left - 1), 1), "height": round(max(0.0, _up(0, y_range) - high), 1)}
    return {"x": round(left + 0.5, 1), "y": round(high, 1), **size, "text": text}
