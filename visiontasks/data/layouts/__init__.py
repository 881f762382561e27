"""Layouts of data sets: which dataset class reads what a folder holds."""

from collections.abc import Callable
from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.data.layouts.base import Layout, Listing
from visiontasks.data.layouts.class_folders import find_class_folders
from visiontasks.data.layouts.coco import find_coco
from visiontasks.data.layouts.cvat import find_cvat
from visiontasks.data.layouts.labelme import find_labelme
from visiontasks.data.layouts.masks import find_masks
from visiontasks.data.layouts.named import find_named
from visiontasks.data.layouts.object_file import find_object_file
from visiontasks.data.layouts.published import find_published
from visiontasks.data.layouts.table import find_table
from visiontasks.data.layouts.voc import find_voc
from visiontasks.data.layouts.yolo import find_yolo

FINDERS: dict[str, Callable[[Listing], Layout | None]] = {  # what is most certain first
    "published": find_published,
    "yolo": find_yolo,
    "coco": find_coco,
    "voc": find_voc,
    "labelme": find_labelme,
    "cvat": find_cvat,
    "via": find_object_file,
    "table": find_table,
    "masks": find_masks,
    "folders": find_class_folders,
    "names": find_named,
}

ALSO = {"masks"}  # what a set may have beside boxes, as Pascal VOC has

__all__ = ["FINDERS", "Layout", "Listing", "find_layouts"]


def find_layouts(folder: Path, wanted: str | None = None) -> dict[str, Layout]:
    """Returns the layouts that are recognized in a folder by their names, the most certain first.

    After a certain one, no others but masks are looked for, unless another one is wanted.
    """
    files = Listing(folder)
    if not files.images and not files.names:
        raise InputError(f"{folder}: no images in this folder.")
    found: dict[str, Layout] = {}
    for name, find in FINDERS.items():
        is_open = all(layout.certainty != "certain" for layout in found.values())
        if (is_open or name in ALSO or name == wanted) and (layout := find(files)):
            found[name] = layout
    return found
