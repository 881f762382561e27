"""What the page of a report says, as plain values for its template."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.draw import palette
from visiontasks.core.geometry import height_width
from visiontasks.data import VisionDataModule
from visiontasks.evaluate import Counts, count_baseline, describe_intervals
from visiontasks.evaluate.rows import figure_rows
from visiontasks.report.confusion import Confusion, find_confusion
from visiontasks.report.curves import curve_charts
from visiontasks.report.facts import Facts, changed_settings
from visiontasks.report.gather import Images
from visiontasks.report.kind_charts import charts_of
from visiontasks.report.layers import Layer
from visiontasks.report.pictures import (
    Gallery,
    cell_galleries,
    changed_galleries,
    chosen_images,
    class_occurrence,
    gallery_data,
    main_galleries,
    picture_data,
    slice_galleries,
    truth_samples,
)
from visiontasks.report.quality import occurrence, quality_of
from visiontasks.report.slices import MOST_CLASSES, Part, Slice, bins, find_slices, of_classes
from visiontasks.report.tables import class_table, data_table, difference_table, figure_table, slice_table
from visiontasks.targets import find_target

UNITS = {"brightness": " of 255", "pixels": " pixels"}


Draw = Callable[[list[int]], Sequence[dict[int, list[Layer]]]]
"""Returns the layers of some images of each model; see `layers_of`."""


class Split(NamedTuple):
    """A split, the specs of the models that are about it, and how many draws intervals come from."""

    data: VisionDataModule
    name: str
    specs: Sequence[dict[str, Any]]
    draws: int


def page_content(facts: Sequence[Facts], found: Sequence[Images], split: Split, draw: Draw) -> dict[str, Any]:
    """Returns the variables of the template of one run, or of several that are compared with the first."""
    first, dataset = found[0], split.data.dataset(split.name)
    keys, (classes, occurs) = [*first.counts], class_occurrence(first, dataset)
    several = len(found) > 1
    slices = {} if several else {key: _slices(key, first, split) for key in keys}
    confusions = {} if several else {key: find_confusion(key, first.counts[key], dataset.names(key)) for key in keys}
    names = [*ascii_uppercase[: len(found)]] if several else ["prediction"]
    main = [*(one for other in found[1:2] for one in changed_galleries(first, other, names)), *main_galleries(first)]
    cells = [one for key, table in confusions.items() if table for one in cell_galleries(key, table, first.scores)]
    parts = [one for key in slices for one in _slice_galleries(key, slices[key], first)]
    chosen = chosen_images(main, cells, [one for one in parts if one.images], occurs)
    every = Gallery("All pictures of this page", chosen)
    layers = ["truth", *names]
    layers += ["errors"] if not several and any(find_target(key).dense for key in keys) else []
    content = {
        "keys": keys,
        "split": split.name,
        "number": len(dataset),
        "facts": facts,
        "data": _data(split, keys, first.counts),
        "curves": curve_charts(
            [(name, one.metrics) for name, one in zip(names, facts, strict=True)], find_target(keys[0]).monitor
        ),
        "note": describe_intervals(first.counts, split.draws),
        "gallery": {
            "images": picture_data(None if several else first.counts, draw(chosen), dataset, classes, occurs),
            "samples": truth_samples(split.data.dataset("train"), split.specs[0], keys),
            "lists": gallery_data([*main, every, *cells, *parts], chosen, first.names),
            "layers": layers,
            "legend": [one for key in keys if find_target(key).dense for one in _legend(dataset.names(key))],
            "classes": list(dict.fromkeys(classes)) if len(classes) > 1 else [],
        },
    }
    return content | (_compared(facts, found, split) if several else _alone(first, split, slices, confusions))


def _alone(
    images: Images, split: Split, slices: dict[str, list[Slice]], confusions: dict[str, Confusion | None]
) -> dict[str, Any]:
    dataset, keys = split.data.dataset(split.name), [*images.counts]
    baseline = count_baseline(keys, split.data, split.name)
    rows = figure_rows([images.counts], baseline, ["model"], split.draws, dataset)
    figures = figure_table(rows)
    sections = []
    for key in keys:
        names = dataset.names(key)
        number = occurrence(key, images.counts[key])[:, : len(names)].sum(0)
        table = class_table(key, rows, number, split.data.class_shares(key))
        charts = charts_of(key, images, names)
        found = confusions[key]
        matrix = _matrix(key, found) if found else None
        sections.append({"key": key, "classes": table, "charts": charts, "confusion": matrix})
    return {"headline": figures[0], "figures": figures, "sections": sections, "slices": _slice_sections(slices, images)}


def _compared(facts: Sequence[Facts], found: Sequence[Images], split: Split) -> dict[str, Any]:
    names = [*ascii_uppercase[: len(found)]]
    table = difference_table([one.counts for one in found], split.draws)
    prints = {one.fingerprint for one in facts if one.fingerprint}
    return {"names": names, "table": table, "changes": changed_settings([*facts]), "same_data": len(prints) < 2}


def _data(split: Split, keys: Sequence[str], counts: Counts) -> dict[str, Any]:
    data = split.data
    sizes = {name: len(data.dataset(name)) for name in dict.fromkeys(("train", "val", split.name))}
    name = type(data.dataset("train")).__name__
    how = {"name": name, "splits": sizes, "seen": seen_sizes(split.specs), "fingerprint": data.fingerprint}
    return how | {"classes": data_table(data, keys, counts, split.name)}


def seen_sizes(specs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the sizes of the pictures that the networks see, each with the letters of its models."""
    found: dict[tuple[str, str], list[str]] = {}
    for letter, spec in zip(ascii_uppercase, specs, strict=False):
        height, width = height_width(spec["image_size"])
        found.setdefault((f"{height} x {width}", spec["resize"]), []).append(letter)
    return [{"pixels": pixels, "resize": resize, "models": models} for (pixels, resize), models in found.items()]


def _legend(names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the name and the color of each class of a mask, without the first one, which is not drawn."""
    pairs = zip(names[1:], palette()[1:].tolist(), strict=False)
    return [(name, "#{:02x}{:02x}{:02x}".format(*color)) for name, color in pairs]


def _slices(key: str, images: Images, split: Split) -> list[Slice]:
    dataset, quality = split.data.dataset(split.name), quality_of(key, images.counts[key])
    return find_slices(quality, _parts(key, images, dataset.names(key), dataset.groups))


def _parts(key: str, images: Images, names: Sequence[str], groups: Sequence[str]) -> Iterable[Part]:
    for title, values in images.measures.items():
        share = title == "object size"
        yield from bins(title, values * 100 if share else values, " % of the image" if share else UNITS.get(title, ""))
    if key == "value":
        for name, column in zip(names, images.counts[key].transpose(2, 0, 1), strict=True):
            yield from bins(f"true {name}", np.where(column[:, 0] > 0, column[:, 1], np.nan))
    elif names:
        yield from of_classes("class", names, occurrence(key, images.counts[key])[:, : len(names)])
    if groups:
        known = [name for name, _ in Counter(groups).most_common(MOST_CLASSES)]
        yield from of_classes("group", known, np.asarray(groups)[:, None] == np.array(known))


def _slice_galleries(key: str, slices: Sequence[Slice], images: Images) -> list[Gallery]:
    return slice_galleries(key, slices, quality_of(key, images.counts[key]).of_images())


def _slice_sections(slices: dict[str, list[Slice]], images: Images) -> list[dict[str, Any]]:
    found = []
    for key, own in slices.items():
        if own:
            name = quality_of(key, images.counts[key]).title.replace("_", " ")
            found.append({"key": key, "name": name, "rows": slice_table(own)})
    return found


def _matrix(key: str, confusion: Confusion) -> dict[str, Any]:
    """Returns a small table as rows of cells, and of a large one the most frequent mistakes."""
    names, numbers = confusion.names, confusion.numbers
    totals = [0] * len(names)
    for (row, _), number in numbers.items():
        totals[row] += number

    def cell(row: int, column: int) -> dict[str, Any]:
        number = numbers[row, column]
        share, pair = number / max(1, totals[row]), {"row": names[row], "column": names[column]}
        return {"key": f"{key}:{row}:{column}", "number": number, "share": share, "right": row == column, **pair}

    size = range(len(names) if confusion.is_small else 0)
    mistakes = [] if confusion.is_small else [cell(*place) for place in confusion.shown]
    table = [[cell(row, column) for column in size] for row in size]
    return {"names": names, "rows": table, "mistakes": mistakes, "unit": key}
