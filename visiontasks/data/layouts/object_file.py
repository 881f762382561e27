"""The layout of a file of the VGG Image Annotator or of CreateML, or one per split."""

from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.words import counted
from visiontasks.data.datasets.object_lists import CSV_COLUMNS, Region, read_regions
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, folder_above, listed
from visiontasks.data.layouts.columns import LABEL
from visiontasks.data.layouts.rows import first_line
from visiontasks.data.splits import without_split

OBJECT = "object"  # the class of regions without attributes


def find_object_file(files: Listing) -> Layout | None:
    """Recognizes a JSON or CSV file with regions that lists images of the folder, first that of train."""
    tables = [name for name in files.ending(".csv") if all(key in first_line(files, name) for key in CSV_COLUMNS)]
    names = sorted(files.ending(".json"), key=lambda name: (name.count("/"), without_split(name)[1] != "train", name))
    for name in [*names[:LOOKED_AT], *tables]:
        try:
            images = read_regions(files.path(name))
        except InputError:
            continue
        folder = folder_above(files, [*images][:LOOKED_AT])
        if folder is not None and (regions := [region for found in images.values() for region in found]):
            return _layout(files, name, folder, regions)
    return None


def _layout(files: Listing, name: str, folder: str, regions: list[Region]) -> Layout:
    pattern, split = without_split(name)
    parts = {part for one in files.names if without_split(one)[0] == pattern and (part := without_split(one)[1])}
    has_parts = split == "train" and len(parts) > 1
    options: dict[str, Any] = {"path": str(files.path(pattern if has_parts else name)), "objects": "all"}
    if folder != name.rpartition("/")[0]:
        options["images"] = str(files.path(without_split(folder)[0] if has_parts else folder))
    attributes = [*dict.fromkeys(key for region in regions for key in region.content)]
    attribute = next((key for key in attributes if LABEL.fullmatch(key)), attributes[0] if attributes else None)
    notes = []
    if len(attributes) > 1:
        options["attribute"] = attribute
        notes.append(f"the class is the attribute {attribute}; there are also {listed(set(attributes) - {attribute})}")
    labels = sorted({region.label(attribute) for region in regions} - {""}) if attribute else [OBJECT]
    if not attribute:
        options["class_names"] = labels
        notes.append(f"the regions have no attributes, so that all are called {OBJECT}; change `class_names`")
    outlines = any(region.shape.get("name") != "rect" for region in regions)
    options |= {"masks": True} if outlines else {}
    what = f"{'outlines' if outlines else 'boxes'} of {counted(len(labels), 'class')} ({listed(labels)})"
    splits = f"; splits: {', '.join(sorted(parts))}" if has_parts else ""
    found = f"VIA or CreateML, {pattern if has_parts else name}: {what}{splits}"
    return Layout("objects", "ObjectFile", options, found, "certain", notes, outlines)
