"""COCO's layout: one JSON file, or one per split, with the objects of all images."""

from collections.abc import Sequence
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.words import counted
from visiontasks.data.datasets.coco_json import read_content, to_id
from visiontasks.data.layouts.base import LOOKED_AT, Layout, Listing, folder_above, listed
from visiontasks.data.splits import without_split

CORNERS = 8  # numbers of a polygon that is a box


def find_coco(files: Listing) -> Layout | None:
    """Recognizes JSON files with images, annotations and categories; of several sets the one with most objects."""
    sets: dict[str, dict[str, dict[str, Any]]] = {}
    for name in files.ending(".json"):
        try:
            content = read_content(files.path(name))
        except InputError:
            continue
        if any("bbox" in row for row in content["annotations"]):
            pattern, split = without_split(name)
            sets.setdefault(pattern, {})[split or ""] = content
    if not sets:
        return None
    pattern, parts = max(sets.items(), key=lambda item: sum(len(one["annotations"]) for one in item[1].values()))
    split, content = next(((key, parts[key]) for key in ("train", "") if key in parts), next(iter(parts.items())))
    pattern = pattern if split else pattern.replace("{split}", split)
    folder = _folder_of_images(files, [row.get("file_name") for row in content["images"]], pattern, split)
    if folder is None:
        return None
    polygons = _have_polygons(content["annotations"])
    used = {to_id(row.get("category_id")) for row in content["annotations"]}  # others may only group these
    names = [row.get("name") for row in content["categories"] if to_id(row.get("id")) in used]
    options: dict[str, Any] = {
        "annotations": str(files.path(pattern)),
        "images": str(files.path(folder)),
        "objects": "all",
        **({"masks": True} if polygons else {}),
    }
    what = f"{'polygons' if polygons else 'boxes'} of {counted(len(names), 'class')} ({listed(names)})"
    splits = f"; splits: {', '.join(sorted(parts))}" if split else ""
    others = [f"the COCO files {listed(sorted(sets.keys() - {pattern}))} are not used"] if len(sets) > 1 else []
    return Layout("objects", "CocoBoxes", options, f"COCO, {pattern}: {what}{splits}", "certain", others, polygons)


def _folder_of_images(files: Listing, names: Sequence[Any], pattern: str, split: str) -> str | None:
    """Returns the folder that the file names are relative to, with `{split}` if each split has its own."""
    folder = folder_above(files, [name for name in names[:LOOKED_AT] if isinstance(name, str)])
    if folder is None:
        return None
    without, found = without_split(folder)
    return without if found == split and "{split}" in pattern else folder


def _have_polygons(annotations: Sequence[dict[str, Any]]) -> bool:
    """Returns whether the objects have outlines that say more than their boxes."""
    shapes: list[Any] = [row.get("segmentation") for row in annotations[:LOOKED_AT] if not row.get("iscrowd")]
    if not shapes or not all(shapes):
        return False
    parts = [part for shape in shapes if isinstance(shape, list) for part in shape if isinstance(part, list)]
    return any(isinstance(shape, dict) for shape in shapes) or any(len(part) > CORNERS for part in parts)
