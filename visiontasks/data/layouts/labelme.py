"""LabelMe's layout: one JSON file per image."""

from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.text import read_json
from visiontasks.core.words import counted
from visiontasks.data.datasets.labelme import SHAPES
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, listed, stem
from visiontasks.data.splits import without_split

OUTLINES = {*SHAPES} - {"rectangle"}


def find_labelme(files: Listing) -> Layout | None:
    """Recognizes JSON files with shapes that have the names of images."""
    names = [name for name in files.ending(".json") if stem(name) in files.by_stem]
    shapes = [shape for name in names[:LOOKED_AT] for shape in _shapes(files, name)]
    labels = sorted({str(shape.get("label")) for shape in shapes})
    if not labels:
        return None
    kinds = {str(shape.get("shape_type", "polygon")) for shape in shapes}
    polygons = bool(kinds & OUTLINES)
    folders = {name.partition("/")[0] for name in names if "/" in name}
    splits = {split for folder in folders if (split := without_split(folder)[1])}
    root = str(files.root / "{split}") if "train" in splits and len(splits) == len(folders) else str(files.root)
    options: dict[str, Any] = {"root": root, "objects": "all"}
    options |= {"masks": True} if polygons else {}
    what = f"{'outlines' if polygons else 'boxes'} of {counted(len(labels), 'class')} ({listed(labels)})"
    notes = [f"shapes of the type {listed(sorted(kinds - {*SHAPES}))} are not read"] if kinds - {*SHAPES} else []
    found = f"LabelMe: {counted(len(names), 'JSON file')} with {what}"
    return Layout("objects", "LabelMe", options, found, "certain", notes, polygons)


def _shapes(files: Listing, name: str) -> list[dict[str, Any]]:
    """Returns the shapes of a JSON file; none if it is another file."""
    try:
        content = read_json(files.path(name))
    except InputError:
        return []
    shapes = content.get("shapes") if isinstance(content, dict) else None
    return [shape for shape in shapes if isinstance(shape, dict)] if isinstance(shapes, list) else []
