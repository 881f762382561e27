"""Pascal VOC's layout: one XML file per image."""

from collections.abc import Sequence
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.words import counted
from visiontasks.data.datasets.beside import last_part
from visiontasks.data.datasets.voc import ANNOTATIONS, IMAGES, MAX_BYTES
from visiontasks.data.datasets.xml import read_xml
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, above_all, listed, stem
from visiontasks.data.splits import without_split


def find_voc(files: Listing) -> Layout | None:
    """Recognizes XML files of annotations that have the names of images."""
    xmls = [name for name in files.ending(".xml") if stem(name) in files.by_stem]
    read = {name: _read(files, name) for name in xmls[:LOOKED_AT]}
    names = {label for _, labels in read.values() for label in labels}
    if not names:
        return None
    what = f"boxes of {counted(len(names), 'class')} ({listed(sorted(names))})"
    found = f"Pascal VOC: {counted(len(xmls), 'XML file')} with {what}"
    images = [_image(files, name, stated) for name, (stated, _) in read.items()]
    return Layout("objects", "VocBoxes", _places(files, images, xmls) | {"objects": "all"}, found, "certain")


def _places(files: Listing, images: Sequence[str], xmls: Sequence[str]) -> dict[str, Any]:
    """Returns the folder of each split, if it has images and XML files, or else the folders of images and XML files."""
    folders = {name.rpartition("/")[0] for name in xmls}
    patterns, splits = ({*part} for part in zip(*map(without_split, folders), strict=True))
    if "train" in splits and len(patterns) == 1 and {name.rpartition("/")[0] for name in images} <= folders:
        return {"root": str(files.path(patterns.pop()))}
    both = [above_all(images), above_all(xmls)]
    top = both[0] if both[0] == both[1] else above_all(f"{folder}/" for folder in both)
    if top in both and both[0] != both[1]:
        top = top.rpartition("/")[0]
    inner = [folder.removeprefix(top).strip("/") or "." for folder in both]
    are_usual = inner[0] in IMAGES and inner[1] in ANNOTATIONS
    others = {} if are_usual else {"images": inner[0], "annotations": inner[1]}
    return {"root": str(files.path(top)), **others}


def _read(files: Listing, name: str) -> tuple[str, set[str]]:
    """Returns the name of the image that an XML file states and its classes; none if it is another file."""
    try:
        root = read_xml(files.path(name), "annotation", "VOC", MAX_BYTES)
    except InputError:
        return "", set()
    labels = {(one.findtext("name") or "").strip() for one in root.iter("object")} - {""}
    return last_part(root.findtext("filename") or ""), labels


def _image(files: Listing, name: str, stated: str) -> str:
    """Returns the image of an XML file: that of the same name without extension, if possible the stated one."""
    same = files.by_stem[stem(name)]
    return next((image for image in same if image.endswith(f"/{stated}") or image == stated), same[0])
