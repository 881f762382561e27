"""The pictures of a report, and the lists of pictures that its gallery can show."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.page import picture
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.evaluate import Counts
from visiontasks.report.choice import choose, lowest
from visiontasks.report.confusion import Confusion
from visiontasks.report.gather import Images
from visiontasks.report.layers import Layer
from visiontasks.report.quality import occurrence, quality_of
from visiontasks.report.slices import Slice

LONGEST, QUALITY = 448, 78  # of a picture, in pixels and of the JPEG
SHOWN, PER_CELL, SAMPLED = 24, 6, 12
FIRST, CELLS, MOST = 60, 95, 120  # pictures for the lists, then also for the cells, then in all
NAMED = 50  # files of a cell that are named without a picture


class Gallery(NamedTuple):
    """A list of images with a title; `key` is that of the button that shows it, or empty for an entry of the menu."""

    title: str
    images: list[int]
    key: str = ""


def main_galleries(images: Images) -> list[Gallery]:
    """Lists the worst images of each target and a sample of all; of classes the most confident mistakes are worst."""
    found = []
    for key, counts in images.counts.items():
        quality = quality_of(key, counts)
        values = quality.of_images()
        if key == "label" and np.isfinite(images.scores).all():
            right = values > 0
            found.append(Gallery("Mistakes, the most confident first", lowest(-images.scores, SHOWN, values == 0)))
            found.append(Gallery("Right, the least confident first", lowest(images.scores, SHOWN, right)))
        else:
            found.append(Gallery(f"Worst {key} by {quality.title.replace('_', ' ')}", lowest(values, SHOWN)))
    number = len(images.names)
    sample = np.unique(np.linspace(0, number - 1, min(number, SAMPLED)).round().astype(int))
    return [*found, Gallery("A sample", sample.tolist())]


def cell_galleries(key: str, confusion: Confusion, scores: np.ndarray) -> list[Gallery]:
    """Lists the images of each cell of a confusion matrix, mistakes before right ones, frequent ones first."""
    found = []
    for row, column in confusion.shown:
        indices = confusion.images[row, column]
        order = sorted(indices, key=lambda index: -np.nan_to_num(scores[index]))
        names = confusion.names[row], confusion.names[column]
        title = f"{names[0]}, right" if row == column else f"{names[0]} taken for {names[1]}"
        found.append((row == column, -len(indices), Gallery(title, order, f"{key}:{row}:{column}")))
    return [gallery for _, _, gallery in sorted(found, key=lambda one: one[:2])]


def slice_galleries(key: str, slices: Sequence[Slice], values: np.ndarray) -> list[Gallery]:
    """Lists the worst images of each slice."""
    return [
        Gallery(f"{one.part.title} {one.part.value}", lowest(values, SHOWN, one.part.inside), f"{key}/{place}")
        for place, one in enumerate(slices)
    ]


def chosen_images(
    main: Sequence[Gallery], cells: Sequence[Gallery], slices: Sequence[Gallery], occurs: np.ndarray
) -> list[int]:
    """Chooses the images that get a picture; `occurs` is which classes each image has, bool (N, classes)."""
    lists = [gallery.images for gallery in main]
    found = choose(lists, FIRST)
    found = choose([found + choose([one.images[:PER_CELL] for one in cells])], CELLS)
    others = [np.flatnonzero(column)[:PER_CELL].tolist() for column in occurs.T]
    others += [one.images[:PER_CELL] for one in slices]
    rest = np.unique(np.linspace(0, len(occurs) - 1, min(len(occurs), MOST)).round().astype(int)).tolist()
    return choose([found + choose([*others, *lists], MOST + len(found)) + rest], MOST)


def picture_data(
    counts: Counts | None,
    layers: Sequence[dict[int, list[Layer]]],
    dataset: VisionDataset,
    classes: Sequence[str],
    occurs: np.ndarray,
) -> list[dict[str, Any]]:
    """Returns the pictures of the chosen images as plain values.

    Args:
        counts: Those of the model, for the figure below each picture; None for several models.
        layers: Of one or several models, by the index of the image; see `layers_of`.
        dataset: The split.
        classes: Names of the classes of all targets.
        occurs: Which of them each image has, bool (N, classes).
    """
    found = []
    told = [_figure(key, values) for key, values in (counts or {}).items()]
    for index, (truth, _, *wrong) in layers[0].items():
        shown = [truth, *(one[index][1] for one in layers), *(wrong if len(layers) == 1 else [])]
        known = [classes[place] for place in np.flatnonzero(occurs[index])]
        figures = [text for one in told if (text := one[index])]
        found.append(image_data(dataset, index, shown) | {"classes": list(dict.fromkeys(known)), "figures": figures})
    return found


def _figure(key: str, counts: np.ndarray) -> list[str]:
    """Returns the figure of each image as a text; none for one that is only right or wrong."""
    quality = quality_of(key, counts)
    title = quality.title.replace("_", " ")
    if key == "label":
        return [""] * len(counts)
    return [f"{title} {value:.4g}" if np.isfinite(value) else "" for value in quality.sign * quality.of_images()]


def image_data(dataset: VisionDataset, index: int, layers: Sequence[Layer]) -> dict[str, Any]:
    """Returns the picture of an image, its name and its layers as plain values."""
    image = dataset.image(index)
    height, width = image.shape[:2]
    source = picture(image, LONGEST, QUALITY)
    size = {"width": width, "height": height}
    return {"source": source, "name": dataset.name(index), **size, "layers": [layer.to_json() for layer in layers]}


def gallery_data(galleries: Sequence[Gallery], chosen: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns galleries as plain values: places among the chosen images, and the names of some of the others."""
    places = {index: place for place, index in enumerate(chosen)}
    found = []
    for gallery in galleries:
        shown = [places[index] for index in gallery.images if index in places]
        others = [names[index] for index in gallery.images if index not in places] if gallery.key else []
        more = {"more": others[:NAMED]} if others else {}
        count = len(gallery.images) if gallery.key else len(shown)
        found.append({"title": gallery.title, "key": gallery.key, "images": shown, "count": count, **more})
    return found


def changed_galleries(first: Images, other: Images, names: Sequence[str]) -> list[Gallery]:
    """Lists the images on which the second of two models is better, and those on which it is worse."""
    found = []
    for key in first.counts:
        before, after = (quality_of(key, images.counts[key]).of_images() for images in (first, other))
        gain = after - before
        title = f" ({key})" if len(first.counts) > 1 else ""
        found.append(Gallery(f"{names[1]} is better than {names[0]}{title}", lowest(-gain, SHOWN, gain > 0)))
        found.append(Gallery(f"{names[1]} is worse than {names[0]}{title}", lowest(gain, SHOWN, gain < 0)))
    return found


def truth_samples(dataset: VisionDataset, spec: dict[str, Any], keys: Sequence[str], number: int = 10) -> list[Any]:
    """Returns pictures of a split with their truth, evenly chosen."""
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().astype(int))
    found = []
    for index in indices.tolist():
        truth = dataset.truth(index, dataset.image(index).shape)
        known = {key: truth[key] for key in keys if key in truth}
        found.append(image_data(dataset, index, [Layer.of(known, spec)]))
    return found


def class_occurrence(images: Images, dataset: VisionDataset) -> tuple[list[str], np.ndarray]:
    """Returns the names of the classes of all targets, and which of them each image has, bool (N, classes)."""
    known = {key: dataset.names(key) for key in images.counts}
    parts = [occurrence(key, images.counts[key])[:, : len(names)] for key, names in known.items()]
    names = [name for names in known.values() for name in names]
    return names[: sum(part.shape[1] for part in parts)], np.concatenate(parts, axis=1)
