"""Boxes, polygons, ellipses and masks in the XML files of CVAT."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse, usable
from visiontasks.core.geometry import MAX_PIXELS
from visiontasks.core.text import normal
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.copies import divide_records
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import (
    Annotation,
    Record,
    ellipse,
    files_inside,
    outlined,
    patched,
    stated_size,
    without_repeats,
)
from visiontasks.data.datasets.regions import Patch
from visiontasks.data.datasets.repeats import note_repeats, warn_of_repeats
from visiontasks.data.datasets.xml import read_xml
from visiontasks.data.splits import Splits, SplitsLike, find_part, split_of

MAX_BYTES = 300_000_000
SHAPES = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "polygon": (),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "mask": ("left", "top", "height", "width"),
}


class CvatImages(ObjectSet):
    """Images with annotations of CVAT in one XML file, which it exports as "CVAT for images 1.1".

    The subsets of the images define the splits, if they are named like splits; without one for val, `splits` divides
    train. Otherwise the images in string order of their names are divided by `splits`. The classes are the labels that
    occur, sorted. An image in the file without a shape has no object.

    A box is the smallest around a box, a polygon, an ellipse, which may be rotated, or the pixels of a mask. Other
    shapes, such as points and skeletons, are an error, unless `keep` leaves out their label; tags of images are not
    read.

    Args:
        split: train, val or test.
        path: The XML file.
        images: Folder that the names of the images are relative to.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`,
            or `all` objects, which may be none.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How images without splits, or train without val, are divided.
        class_names: If given, the classes and their order, and other labels are errors.
        keep: If given, the classes to use and their order; objects of other classes are dropped and counted.
        absent: Keep images without an object, whose box is then known to be absent; else they are left out.
        masks: Read the pixels of each object too; for `objects: all`.
    """

    def __init__(
        self,
        split: str,
        path: str,
        images: str,
        objects: OnSeveralObjects = "all",
        boxes: OnInvalidBox = "error",
        splits: SplitsLike = Splits(),
        class_names: list[str] | None = None,
        keep: list[str] | None = None,
        absent: bool = False,
        masks: bool = False,
    ) -> None:
        found = _read(Path(path), Path(images), keep)
        names = class_names or sorted({one.label for _, record in found for one in record.annotations})
        if not names:
            raise InputError(f"{path}: no image has a shape. Export the annotations as CVAT for images 1.1.")
        check_class_names(names, path, fewest=1)
        there = {side for side, _ in found if side}
        part, divider = find_part(split, splits, there, path)
        records = [record for side, record in found if side == part or not there]
        if divider:
            records = divide_records(split, divider, records, names)
        super().__init__(records, names, objects, boxes, keep, absent, masks)


def _read(path: Path, folder: Path, keep: Sequence[str] | None) -> list[tuple[str | None, Record]]:
    """Reads the images in string order of their names, each with the split that its subset means, or None."""
    nodes = _nodes(path)
    files = files_inside(folder, [(node.get("name", ""), where) for where, node in nodes])
    sides = [split_of(node.get("subset", "")) for _, node in nodes]
    has_splits, found, copies = any(sides), [], 0
    for place, (file, side, (where, node)) in enumerate(zip(files, sides, nodes, strict=True)):
        if has_splits and side is None:
            fault = f"{where}: subset {node.get('subset')!r} is not one of train, val and test. Rename it."
            refuse("annotation", file, InputError(fault))
        if not files.has(place) or (has_splits and side is None):
            continue
        drawn = [(shape, f"{where}, shape {number}") for number, shape in enumerate(node, 1) if shape.tag != "tag"]
        shapes = [one for shape in drawn if (one := usable("annotation", file, _object, *shape, keep))]
        kept = without_repeats(shapes)
        size = stated_size(node.get("height"), node.get("width"))
        copies += len(shapes) - len(kept)
        note_repeats(file, where, len(shapes) - len(kept), "shape")
        found.append((side, Record(file, node.get("name", ""), kept, size=size)))
    warn_of_repeats(path, copies, "shape", "the label and outline of")
    return found


def _nodes(path: Path) -> list[tuple[str, Element]]:
    """Returns the images and where they are written, in string order of their names."""
    found: dict[str, tuple[str, Element]] = {}
    for node in read_xml(path, "annotations", "CVAT", MAX_BYTES).iter("image"):
        name, where = node.get("name", ""), f"{path}, image {node.get('name')!r:.200}"
        if not name:
            refuse("annotation", path, InputError(f"{where}: an image must have a name. Export the file again."))
        elif name in found:
            refuse("twice", path, InputError(f"{where}: it is listed twice. Join or remove one."))
        else:
            found[name] = where, node
    return [found[name] for name in sorted(found)]


def _object(shape: Element, where: str, keep: Sequence[str] | None) -> Annotation:
    label = normal(shape.get("label", ""))
    if not label:
        raise InputError(f"{where}: <{shape.tag[:40]}> has no label. Export the file again.")
    if keep is not None and label not in keep:
        return Annotation(label, None, where)  # which is dropped
    if shape.tag not in SHAPES:
        advice = "Draw it as one of these, remove it, or leave its label out of `keep`"
        raise InputError(f"{where}: <{shape.tag[:40]}> is not one of {', '.join(SHAPES)}. {advice}.")
    if shape.tag == "mask":
        return patched(label, _patch(shape, where), where)
    return outlined(label, _outline(shape, where), where)


def _patch(shape: Element, where: str) -> Patch:
    """Reads a mask: its rectangle, and the lengths of runs in it, row by row, the first of pixels outside."""
    texts = [shape.get(name, "") for name in SHAPES["mask"]]
    runs = shape.get("rle", "")
    try:
        left, top, height, width = map(int, texts)
        lengths = tuple(map(int, runs.split(",")))
    except ValueError:
        expected = f"<mask> must have whole numbers in rle, {', '.join(SHAPES['mask'])}"
        found = f"{runs!r:.100}, {str(texts)[1:-1]:.100}"
        raise InputError(f"{where}: {expected}; found {found}. Correct or remove it.") from None
    if min(height, width) < 1 or max(height * width, abs(left), abs(top)) > MAX_PIXELS:
        limit = f"between 1 and {MAX_PIXELS:,} pixels"
        found = f"{width} x {height} at {left}, {top}"
        raise InputError(f"{where}: <mask> must have {limit}; found {found:.100}. Correct or remove it.")
    if min(lengths) < 0 or sum(lengths) != height * width:
        expected = f"lengths of runs with the sum {width} x {height} = {height * width}"
        found = f"{runs!r:.100}, the sum {sum(lengths)!s:.20}"
        raise InputError(f"{where}: rle must be {expected}; found {found}. Export it again.")
    return Patch(left, top, height, width, lengths)


def _outline(shape: Element, where: str) -> np.ndarray:
    """Returns the corners of the region that a shape covers, float64 (N, 2)."""
    if shape.tag == "polygon":
        points = _numbers(shape.get("points", "").replace(";", ",").split(","), shape, where)
        if len(points) < 6 or len(points) % 2:
            raise InputError(f"{where}: a polygon must have 3 or more points, x,y; found {shape.get('points')!r:.100}.")
        return points.reshape(-1, 2)
    values = _numbers([shape.get(name, "") for name in SHAPES[shape.tag]], shape, where).reshape(2, 2)
    if shape.tag == "ellipse":
        outline, center = ellipse(*values), values[0]
    else:
        (x1, y1), (x2, y2) = values
        outline, center = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]), values.mean(0)
    (angle,) = np.radians(_numbers([shape.get("rotation", "0")], shape, where))  # clockwise in the picture
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return outline if not angle else (outline - center) @ turn + center


def _numbers(texts: list[str], shape: Element, where: str) -> np.ndarray:
    try:
        numbers = np.array([float(text) for text in texts])
        if np.isfinite(numbers).all():
            return numbers
    except ValueError:
        pass
    raise InputError(
        f"{where}: <{shape.tag}> must have finite numbers; found {str(texts)[:100]}. Correct or remove it."
    )
