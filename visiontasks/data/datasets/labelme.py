"""Polygons, rectangles, circles and masks in LabelMe's JSON files."""

import reprlib
from base64 import b64decode
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.faults import usable
from visiontasks.core.folders import images_below, walk, with_suffix
from visiontasks.core.headers import opened
from visiontasks.core.images import decoding
from visiontasks.core.text import normal, read_json
from visiontasks.data.datasets.beside import ImageFiles, read_all
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.parts import read_parts
from visiontasks.data.datasets.records import Annotation, Record, ellipse, outlined, patched, stated_size
from visiontasks.data.datasets.regions import Patch
from visiontasks.data.splits import Splits, SplitsLike, split_path

MAX_BYTES = 200_000_000  # most of them are the copy of the image in it
SHAPES = ("polygon", "rectangle", "circle", "mask")
COUNTS = {"rectangle": (2, 4), "circle": (2,), "mask": (2,)}  # of points


class LabelMe(ObjectSet):
    """Images with annotations of LabelMe (Wada et al.), one JSON file per image, anywhere below a folder.

    If `root` contains `{split}`, the folders define the splits; without one for val, `splits` divides train. Otherwise
    the JSON files in string order are divided by `splits`. The image of `x/a.json` is the file `x/a` with an image
    extension, or else the `imagePath` in it, without its folders; `imageData` is not used. The classes are the labels
    (of train), sorted.

    A box is the smallest around a polygon, a rectangle, a circle or the pixels of a mask. Shapes of the same label and
    `group_id` are one object. Other shapes, such as points and lines, are an error, unless `keep` leaves out their
    label. LabelMe writes a file for each image that was saved: images without one are not annotated; they are counted
    and left out. A file without a shape says that there is no object.

    Args:
        split: train, val or test.
        root: Folder of the images and JSON files; `{split}` in it stands for the split.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`,
            or `all` objects, which may be none.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How a folder without splits, or train without val, is divided.
        class_names: If given, the classes and their order, and other labels are errors.
        keep: If given, the classes to use and their order; objects of other classes are dropped and counted.
        absent: Keep images without an object, whose box is then known to be absent; else they are left out.
        masks: Read the pixels of each object too; for `objects: all`.
    """

    def __init__(
        self,
        split: str,
        root: str,
        objects: OnSeveralObjects = "all",
        boxes: OnInvalidBox = "error",
        splits: SplitsLike = Splits(),
        class_names: list[str] | None = None,
        keep: list[str] | None = None,
        absent: bool = False,
        masks: bool = False,
    ) -> None:
        records, names = read_parts(
            split, splits, root, lambda part: _read(split_path(root, part), split == "train", keep), class_names
        )
        super().__init__(records, names, objects, boxes, keep, absent, masks)


def _read(root: Path, tell: bool, keep: list[str] | None) -> list[Record]:
    """Reads all JSON files below a folder; `tell` counts the images without one."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold images and JSON files.")
    files = ImageFiles(root, images_below(root))
    found = with_suffix(walk(root), (".json",))
    if not found:
        raise InputError(f"{root}: no .json files in this folder.")
    records = list(read_all(found, root, files, partial(read_labelme, keep=keep), "JSON").values())
    if tell:
        files.warn_of_others(Path(record.path) for record in records)
    return records


def read_labelme(file: Path, files: ImageFiles, key: str, keep: Sequence[str] | None = None) -> Record:
    """Reads a JSON file whose path below its folder is `key`, without extension.

    Raises:
        InputError: It is not LabelMe's, a shape is wrong or not known, or the image is missing.
    """
    content = read_json(file, MAX_BYTES)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise InputError(f"{file}: not a LabelMe file: 'shapes' must be a list of objects. Move it elsewhere.")
    stated = content.get("imagePath")
    path = files.image_of(file, key, stated if isinstance(stated, str) else "")
    found: dict[Any, Annotation] = {}
    for number, shape in enumerate(shapes, 1):
        if (new := usable("annotation", path, _object, shape, f"{file}, shape {number}", keep)) is None:
            continue
        group = shape.get("group_id")
        same = (new.label, group) if type(group) in (int, str) else number
        found[same] = _joined(found[same], new) if same in found else new
    size = stated_size(content.get("imageHeight"), content.get("imageWidth"))
    return Record(path, path.relative_to(files.folder).as_posix(), list(found.values()), size=size)


def _object(shape: dict[str, Any], where: str, keep: Sequence[str] | None) -> Annotation:
    label = normal(text) if isinstance(text := shape.get("label"), str) else ""
    if not label:
        raise InputError(f"{where}: it has no label; found {reprlib.repr(text)}. Add it.")
    if keep is not None and label not in keep:
        return Annotation(label, None, where)  # which is dropped
    kind = shape.get("shape_type") or "polygon"  # old files have polygons only
    if kind not in SHAPES:
        advice = "Draw it as one of these, remove it, or leave its label out of `keep`"
        raise InputError(
            f"{where}: shape_type must be one of {', '.join(SHAPES)}; found {reprlib.repr(kind)}. {advice}."
        )
    points = _points(shape.get("points"), kind, where)
    if kind == "mask":
        return patched(label, _patch(shape.get("mask"), points, where), where)
    return outlined(label, _outline(kind, points), where)


def _points(value: Any, kind: str, where: str) -> np.ndarray:
    """Checks the points of a shape, float64 (N, 2)."""
    try:
        points = np.asarray(value if isinstance(value, list) else [])
    except (ValueError, OverflowError):
        points = np.array([])
    is_list = points.dtype.kind in "iuf" and points.shape[1:] == (2,) and np.isfinite(points).all()
    if not is_list or not (len(points) in COUNTS[kind] if kind in COUNTS else len(points) > 2):
        expected = " or ".join(map(str, COUNTS[kind])) if kind in COUNTS else "3 or more"
        fault = f"a {kind} must have {expected} points, x and y; found {reprlib.repr(value)}"
        raise InputError(f"{where}: {fault}. Correct or remove it.")
    return points.astype(np.float64)


def _patch(text: Any, points: np.ndarray, where: str) -> Patch:
    """Decodes the PNG file of a mask, whose first and last pixel are at two points: float64 (2, 2)."""
    x1, y1, x2, y2 = map(int, points.ravel().tolist())
    try:
        data = b64decode(text, validate=True)
    except (TypeError, ValueError):
        found = reprlib.repr(text)
        raise InputError(f"{where}: 'mask' must be a PNG file in base64; found {found}. Remove the shape.") from None
    with decoding(where, "mask"), opened(BytesIO(data)) as image:
        if image.format != "PNG" or image.mode not in ("1", "L"):
            raise InputError(
                f"the mask must be a gray PNG file; found {image.format} of mode {image.mode}. Save it again."
            )
        if image.size != (x2 - x1 + 1, y2 - y1 + 1):
            found = f"{image.size[0]} x {image.size[1]} pixels"
            fault = f"the mask has {found}, its points {[[x1, y1], [x2, y2]]} have {x2 - x1 + 1} x {y2 - y1 + 1}"
            raise InputError(f"{fault}. Save it again in LabelMe.")
        return Patch.of(np.asarray(image) > 0, x1, y1)


def _outline(kind: str, points: np.ndarray) -> np.ndarray:
    """Returns the corners of the region that a shape covers, float64 (N, 2)."""
    if kind == "circle":  # its center, and a point on it
        return ellipse(points[0], np.linalg.norm(points[1] - points[0]))
    if kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    return points


def _joined(first: Annotation, second: Annotation) -> Annotation:
    """Returns one object of two parts."""
    if not (first.box and second.box):
        return first
    corners = np.array([first.box, second.box])
    box = *corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist()
    return first._replace(box=box, shape=[*first.shape, *second.shape])
