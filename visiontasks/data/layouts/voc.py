"""Pascal VOC's layout: one XML file per image."""

from typing import Any
from xml.etree import ElementTree

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_bytes
from visiontasks.data.datasets.beside import last_part
from visiontasks.data.datasets.voc import ANNOTATIONS, IMAGES, MAX_BYTES
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, above_all, counted, listed, stem


def find_voc(files: Listing) -> Layout | None:
    """Recognizes XML files of annotations that have the names of images."""
    xmls = [name for name in files.ending(".xml") if stem(name) in files.by_stem]
    read = {name: _read(files, name) for name in xmls[:LOOKED_AT]}
    names = {label for _, labels in read.values() for label in labels}
    if not names:
        return None
    images = above_all(_image(files, name, stated) for name, (stated, _) in read.items())
    annotations = above_all(xmls)
    top = above_all((f"{images}/", f"{annotations}/"))
    top = top if images == annotations else top.rpartition("/")[0] if top in (images, annotations) else top
    options: dict[str, Any] = {"root": str(files.path(top)), "objects": "all"}
    inner = [folder.removeprefix(top).strip("/") or "." for folder in (images, annotations)]
    if inner[0] not in IMAGES or inner[1] not in ANNOTATIONS:
        options |= {"images": inner[0], "annotations": inner[1]}
    what = f"boxes of {counted(len(names), 'class')} ({listed(sorted(names))})"
    found = f"Pascal VOC: {counted(len(xmls), 'XML file')} with {what}"
    return Layout("objects", "VocBoxes", options, found, "certain")


def _read(files: Listing, name: str) -> tuple[str, set[str]]:
    """Returns the name of the image that an XML file states and its classes; none if it is another file."""
    try:
        data = read_bytes(files.path(name), MAX_BYTES)
        root = ElementTree.fromstring(data) if b"<!DOCTYPE" not in data and b"<!ENTITY" not in data else None
    except (InputError, ElementTree.ParseError):
        return "", set()
    if root is None or root.tag != "annotation":
        return "", set()
    labels = {(one.findtext("name") or "").strip() for one in root.iter("object")} - {""}
    return last_part(root.findtext("filename") or ""), labels


def _image(files: Listing, name: str, stated: str) -> str:
    """Returns the image of an XML file: that of the same name without extension, if possible the stated one."""
    same = files.by_stem[stem(name)]
    return next((image for image in same if image.endswith(f"/{stated}") or image == stated), same[0])
