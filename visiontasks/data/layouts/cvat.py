"""The layout of CVAT's own XML files."""

from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.words import counted
from visiontasks.data.datasets.cvat import MAX_BYTES, SHAPES
from visiontasks.data.datasets.xml import read_xml
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, folder_above, listed


def find_cvat(files: Listing) -> Layout | None:
    """Recognizes an XML file of annotations that lists images of the folder."""
    for name in files.ending(".xml"):
        try:
            images = read_xml(files.path(name), "annotations", "CVAT", MAX_BYTES).findall("image")
        except InputError:
            continue
        folder = folder_above(files, [image.get("name", "") for image in images[:LOOKED_AT]])
        shapes = [shape for image in images for shape in image if shape.tag in SHAPES]
        labels = sorted({shape.get("label", "") for shape in shapes})
        if folder is None or not labels:
            continue
        outlines = any(shape.tag != "box" for shape in shapes)
        options: dict[str, Any] = {"path": str(files.path(name)), "images": str(files.path(folder)), "objects": "all"}
        options |= {"masks": True} if outlines else {}
        what = f"{'outlines' if outlines else 'boxes'} of {counted(len(labels), 'class')} ({listed(labels)})"
        found = f"CVAT, {name}: {counted(len(images), 'image')} with {what}"
        return Layout("objects", "CvatImages", options, found, "certain", masks=outlines)
    return None
