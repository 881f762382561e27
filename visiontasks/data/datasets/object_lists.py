"""Regions in the files of the VGG Image Annotator and of CreateML."""

import json
import reprlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.text import normal, read_json
from visiontasks.data.datasets.records import Annotation, ellipse, four_numbers, outlined
from visiontasks.data.datasets.rows import read_rows

MAX_BYTES = 300_000_000
CSV_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
SHAPES = ("rect", "polygon", "circle", "ellipse")
LABEL = "label"  # of a region of CreateML


class Region(NamedTuple):
    """A region of an image: VIA's attributes of its shape and of its content, and where it is written."""

    shape: Mapping[str, Any]
    content: Mapping[str, Any]
    where: str

    def label(self, attribute: str) -> str:
        """Returns the text of an attribute, or the one option that is chosen; empty if there is none."""
        value = self.content.get(attribute)
        chosen = [key for key, is_on in value.items() if is_on] if isinstance(value, dict) else [value]
        return normal(chosen[0]) if len(chosen) == 1 and isinstance(chosen[0], str) else ""


def read_regions(path: Path) -> dict[str, list[Region]]:
    """Returns the regions of each image by its name; none for an image without an object.

    Raises:
        InputError: It is no such file, or an image is there twice.
    """
    if path.suffix.lower() == ".csv":
        return _of_csv(path)
    content = read_json(path, MAX_BYTES)
    if isinstance(content, dict):
        content = content.get("_via_img_metadata", content)
    items = [*content.values()] if isinstance(content, dict) else content if isinstance(content, list) else []
    found: dict[str, list[Region]] = {}
    for number, item in enumerate(items, 1):
        name, regions = _of_item(item, f"{path}, image {number}")
        if name in found:
            raise InputError(f"{path}, image {number}: {name!r} is there twice. Join or remove one of them.")
        found[name] = regions
    if not found:
        raise InputError(f"{path}: no images. Expected a file of the VGG Image Annotator (VIA) or of CreateML.")
    return found


def attribute_of(regions: Sequence[Region], path: str) -> str | None:
    """Returns the only attribute of regions, None without any; an InputError if there are several."""
    names = [*dict.fromkeys(name for region in regions for name in region.content)]
    if len(names) > 1:
        raise InputError(f"{path}: the regions have the attributes {names}. Set `attribute` to that of the class.")
    return names[0] if names else None


def to_annotation(region: Region, label: str) -> Annotation:
    """Returns a region as an object; a shape that is wrong or not known is an InputError."""
    shape, where, kind = region.shape, region.where, region.shape.get("name")
    if kind == "rect":
        x, y, width, height = _numbers(shape, ("x", "y", "width", "height"), where)
        return outlined(label, np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]]), where)
    if kind == "circle":
        x, y, radius, _ = _numbers(shape, ("cx", "cy", "r", "r"), where)
        return outlined(label, ellipse(np.array([x, y]), radius), where)
    if kind == "ellipse":
        x, y, *radii = _numbers(shape, ("cx", "cy", "rx", "ry"), where)
        angle, *_ = _numbers({"theta": 0, **shape}, ("theta",) * 4, where)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return outlined(label, ellipse(np.zeros(2), radii) @ turn + [x, y], where)
    if kind == "polygon":
        return outlined(label, _points(shape, where), where)
    advice = "Draw it as one of these, remove it, or leave its label out of `keep`"
    raise InputError(f"{where}: the shape must be one of {', '.join(SHAPES)}; found {reprlib.repr(kind)}. {advice}.")


def _of_item(item: Any, where: str) -> tuple[str, list[Region]]:
    """Returns the name of an image and its regions, from an entry of VIA's or of CreateML's file."""
    item = item if isinstance(item, dict) else {}
    name = item.get("filename", item.get("image", item.get("imagefilename")))
    regions = item.get("regions", item.get("annotations", item.get("annotation")))
    regions = [*regions.values()] if isinstance(regions, dict) else regions  # of older files
    if not isinstance(name, str) or not name or not isinstance(regions, list):
        raise InputError(f"{where}: expected the name of an image and its regions, as VIA and CreateML write them.")
    return name, [_region(one, f"{where}, region {number}") for number, one in enumerate(regions, 1)]


def _region(one: Any, where: str) -> Region:
    one = one if isinstance(one, dict) else {}
    if isinstance(place := one.get("coordinates"), dict):  # the center and the size, of CreateML
        x, y, width, height = _numbers(place, ("x", "y", "width", "height"), where)
        shape = {"name": "rect", "x": x - width / 2, "y": y - height / 2, "width": width, "height": height}
        return Region(shape, {LABEL: one.get("label")}, where)
    shape, content = one.get("shape_attributes"), one.get("region_attributes", {})
    if not isinstance(shape, dict) or not isinstance(content, dict):
        raise InputError(f"{where}: expected `shape_attributes` and `region_attributes`, or `coordinates`.")
    return Region(shape, content, where)


def _of_csv(path: Path) -> dict[str, list[Region]]:
    found: dict[str, list[Region]] = defaultdict(list)
    for where, row in read_rows(str(path), CSV_COLUMNS, []).items():
        try:
            shape, content = (json.loads(row[column]) for column in CSV_COLUMNS[1:])
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: {', '.join(CSV_COLUMNS[1:])} must be JSON ({error}).") from None
        regions = found[row["filename"]]
        if shape:  # an image without a region has an empty one
            regions.append(_region({"shape_attributes": shape, "region_attributes": content}, where))
    return dict(found)


def _numbers(shape: Mapping[str, Any], keys: tuple[str, ...], where: str) -> tuple[float, float, float, float]:
    values = [shape.get(key) for key in keys]
    found = four_numbers(values, where, f"{', '.join(dict.fromkeys(keys))} must be numbers")
    if not np.isfinite(found).all():
        raise InputError(f"{where}: {', '.join(keys)} must be finite; found {values}.")
    return found


def _points(shape: Mapping[str, Any], where: str) -> np.ndarray:
    """Returns the corners of a polygon, float64 (N, 2)."""
    ends = [shape.get(f"all_points_{axis}") for axis in "xy"]
    try:
        points = np.array(ends, np.float64).T if all(isinstance(part, list) for part in ends) else np.empty(0)
    except (TypeError, ValueError, OverflowError):
        points = np.empty(0)
    if points.ndim != 2 or len(points) < 3 or not np.isfinite(points).all():
        fault = f"a polygon needs as many all_points_x as all_points_y, 3 or more; found {reprlib.repr(ends)}"
        raise InputError(f"{where}: {fault}. Correct or remove it.")
    return points
