"""The layout of YOLO: a `data.yaml`, images, and text files of boxes or polygons."""

from collections.abc import Iterable
from typing import Any

import yaml

from visiontasks.core.bounded import check_yaml
from visiontasks.core.errors import InputError
from visiontasks.core.text import read_text
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, counted, listed
from visiontasks.data.splits import split_of

BOX = 5  # numbers of a line: class, x, y, width, height


def find_yolo(files: Listing) -> Layout | None:
    """Recognizes a YAML file with the names of the classes and the folders of the splits."""
    for name in sorted(files.ending(".yaml", ".yml"), key=lambda name: name.count("/")):
        content = _content(files, name)
        if not (isinstance(content, dict) and isinstance(content.get("names"), list | dict)):
            continue
        if not (parts := sorted({split_of(key) or "" for key in content if isinstance(key, str)} - {""})):
            continue
        names = content["names"]
        names = [*names.values()] if isinstance(names, dict) else names
        counts = [count for label in files.ending(".txt")[:LOOKED_AT] for count in _lengths(files, label)]
        polygons = bool(counts) and min(counts) > BOX
        what = "polygons" if polygons else "boxes"
        options: dict[str, Any] = {
            "path": str(files.path(name)),
            "objects": "all",
            **({"masks": True} if polygons else {}),
        }
        found = f"YOLO, {name}: {what} of {counted(len(names), 'class')} ({listed(names)}); splits: {', '.join(parts)}"
        return Layout("objects", "YoloBoxes", options, found, "certain", masks=polygons)
    return None


def _content(files: Listing, name: str) -> Any:
    try:
        text = read_text(files.path(name))
        check_yaml(text)
        return yaml.safe_load(text)
    except (InputError, yaml.YAMLError, ValueError, TypeError, OverflowError):
        return None


def _lengths(files: Listing, name: str) -> Iterable[int]:
    """Returns how many numbers each line of a label file has; none for another text."""
    try:
        lines = [line.split() for line in read_text(files.path(name)).splitlines() if line.strip()]
        return [len([float(word) for word in words]) for words in lines]
    except (InputError, ValueError):
        return []
