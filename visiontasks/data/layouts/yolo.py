"""The layout of YOLO: a `data.yaml`, images, and text files of boxes or polygons."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from visiontasks.core.bounded import check_yaml
from visiontasks.core.errors import InputError
from visiontasks.core.text import read_text
from visiontasks.core.words import counted
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, listed, read_lines, stem
from visiontasks.data.splits import split_of

NAMES = re.compile(r"(^|/)(classes|_?darknet|obj|[^/]*names)[^/]*\.(txt|labels|names)$", re.IGNORECASE)
BOX = 5  # numbers of a line: class, x, y, width, height


def find_yolo(files: Listing) -> Layout | None:
    """Recognizes a YAML file with the names of the classes and the folders of the splits."""
    for name in sorted(files.ending(".yaml", ".yml"), key=lambda name: name.count("/")):
        content = _content(files, name)
        if not (isinstance(content, dict) and isinstance(content.get("names"), list | dict)):
            continue
        given = [key for key, value in content.items() if isinstance(key, str) and value]
        if not (parts := sorted({split_of(key) or "" for key in given} - {""})):
            continue
        names = content["names"]
        names = [*names.values()] if isinstance(names, dict) else names
        return _layout(files, name, names, f"; splits: {', '.join(parts)}")
    return _of_darknet(files) or _without_yaml(files)


def _of_darknet(files: Listing) -> Layout | None:
    """Recognizes Darknet's file, such as `obj.data`, with the lists of images and the file of names."""
    for name in files.ending(".data"):
        content = {
            key.strip(): value.strip() for key, _, value in (line.partition("=") for line in read_lines(files, name))
        }
        place = next((one for one in files.names if f"/{content.get('names')}".endswith(f"/{one}")), None)
        if place and "train" in content:
            parts = sorted({split_of(key) or "" for key in content} - {""})
            return _layout(files, name, read_lines(files, place), f"; splits: {', '.join(parts)}")
    return None


def _without_yaml(files: Listing) -> Layout | None:
    """Recognizes a file of names and label files, as labelImg writes them."""
    texts = {*files.ending(".txt")}
    labels = [name for image in files.images[:LOOKED_AT] if (name := _label_of(image)) in texts]
    numbers = [count for name in labels for count in _lengths(files, name)]
    if not numbers or min(numbers) < BOX:
        return None
    for name in sorted(texts - {*labels} | {*files.ending(".names")}, key=lambda name: name.count("/")):
        if NAMES.search(name) and (lines := read_lines(files, name)):
            return _layout(files, name, lines, "")
    return None


def _layout(files: Listing, name: str, names: Sequence[str], splits: str) -> Layout:
    counts = [count for image in files.images[:LOOKED_AT] for count in _lengths(files, _label_of(image))]
    polygons = bool(counts) and min(counts) > BOX
    options: dict[str, Any] = {"path": str(files.path(name)), "objects": "all"}
    options |= {"masks": True} if polygons else {}
    what = f"{'polygons' if polygons else 'boxes'} of {counted(len(names), 'class')} ({listed(names)})"
    return Layout("objects", "YoloBoxes", options, f"YOLO, {name}: {what}{splits}", "certain", masks=polygons)


def _label_of(image: str) -> str:
    """Returns the name of the label file of an image."""
    *folders, file = image.split("/")
    places = [place for place, folder in enumerate(folders) if folder == "images"]
    if places:
        folders[places[-1]] = "labels"
    return "/".join([*folders, f"{stem(file)}.txt"])


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
        return [len([float(word) for word in line.split()]) for line in read_lines(files, name)]
    except ValueError:
        return []
