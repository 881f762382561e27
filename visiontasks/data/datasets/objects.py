"""Images with annotated objects; the target is one of them, or all."""

from collections import Counter
from collections.abc import Sequence
from os import fspath
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.depth import GrayRange
from visiontasks.core.errors import InputError
from visiontasks.core.faults import is_refused, note, refuse, usable
from visiontasks.core.images import read_size
from visiontasks.core.objects import Objects, make_objects
from visiontasks.core.words import counted
from visiontasks.data.datasets.base import FileSet, kept_classes
from visiontasks.data.datasets.files import Files
from visiontasks.data.datasets.records import Annotation, Box, OnInvalidBox, Record, area, checked_box
from visiontasks.data.datasets.regions import read_shape, shape_pixels

OnSeveralObjects = Literal["largest", "first", "skip", "error", "labels", "all"]


class ObjectSet(FileSet):
    """Images with one label and one box each, or with all objects, made of records with any number of objects.

    `objects`, `boxes`, `keep` and `absent` are those of `VocBoxes`, `masks` is that of `CocoBoxes`; the log counts what
    is left out. An image of another size than its annotation states is an `error` too, or, with `clip`, is counted and
    used.
    """

    def __init__(
        self,
        records: Sequence[Record],
        class_names: list[str],
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        keep: list[str] | None = None,
        absent: bool = False,
        masks: bool = False,
    ) -> None:
        if absent and objects in ("labels", "all"):
            raise InputError(f"absent: it is for one object per image; `objects: {objects}` keeps images without any.")
        if masks and objects != "all":
            raise InputError(f"masks: they are those of all objects; found `objects: {objects}`. Set `objects: all`.")
        kept = kept_classes(keep, class_names)
        self._places = {name: place for place, name in enumerate(kept)}
        self._objects, self._boxes, self._absent, self._masks = objects, boxes, absent, masks
        self._drops = keep is not None
        self.class_names, self.labels_names = ([], kept) if objects == "labels" else (kept, [])
        self._counts: Counter[tuple[str, str]] = Counter()  # by what is counted, if anything, and what it is
        used = [self._used(self._known(record)) for record in records]
        self._records = [record for record in used if record]
        self.paths = Files([fspath(record.path) for record in self._records])
        counts = ", ".join(
            f"{counted(count, noun) if noun else count} {what}" for (noun, what), count in self._counts.items() if count
        )
        if counts:
            rank_zero_info(f"{type(self).__name__}: {len(self._records)} of {len(records)} images are used; {counts}.")
        if not any(r.others or not r.annotated or any(not a.crowd for a in r.annotations) for r in self._records):
            raise InputError(f"{type(self).__name__}: no image with an object in {len(records)} images ({counts}).")

    def set_reading(self, gray_range: GrayRange | None, page: int | None = None) -> None:
        super().set_reading(gray_range, page)
        for record in self._records if page not in (None, 1) else []:
            if record.size and (found := read_size(record.path, page)) != record.size:
                (height, width), (first, second) = found, record.size
                fault = f"page {page} has {width} x {height} pixels, and page 1, by which boxes are checked, has"
                error = InputError(f"{record.path}: {fault} {second} x {first}. Export the page as a file.")
                refuse("size", record.path, error)

    def size(self, index: int) -> tuple[int, int]:
        return self._records[index].size or super().size(index)

    def target(self, index: int) -> dict[str, Any]:
        record = self._records[index]
        if self._objects == "all":
            return {"objects": self.objects(index), **record.others} if record.annotated else record.others
        if not record.annotations:
            known = {"bbox": np.zeros(4, np.float32)} if self._absent and record.annotated else {}
            return {**known, **record.others}
        label, box, *_ = record.annotations[0]
        known = {} if box is None else {"bbox": np.array(box, np.float32)}
        return {"label": self._places[label], **known, **record.others}

    def objects(self, index: int) -> Objects:
        known = [a for a in self._records[index].annotations if a.box]
        return make_objects([a.box for a in known], [self._places[a.label] for a in known], [a.crowd for a in known])

    def instances(self, index: int) -> np.ndarray | None:
        record = self._records[index]
        if not (self._masks and record.annotated):
            return None
        height, width = self.size(index)
        found = [shape_pixels(one.shape, height, width) for one in record.annotations if one.shape is not None]
        return np.array(found, bool).reshape(-1, height, width)

    def name(self, index: int) -> str:
        return self._records[index].name

    def _known(self, record: Record) -> Record:
        """Returns an image as `_checked`; while faults are collected, one with such a fault is not annotated."""
        checked = self._checked(record)
        return checked._replace(annotations=[], annotated=False) if is_refused(record.path) else checked

    def _checked(self, record: Record) -> Record:
        """Returns an image with its usable annotations, clipped if `boxes` is `clip`, and, for boxes, its true size."""
        kept = [one for one in record.annotations if not self._drops or one.label in self._places]
        self._counts["object", "of other classes dropped"] += len(record.annotations) - len(kept)
        if not any(annotation.box for annotation in kept):
            return record._replace(annotations=kept, size=None)
        if (size := usable("file", record.path, read_size, record.path)) is None:
            return record._replace(size=None)
        if record.size and record.size != size:
            if self._boxes == "error":
                fault = f"made for an image of {record.size[1]} x {record.size[0]} pixels"
                found = f"{record.path} has {size[1]} x {size[0]}, upright"
                advice = "Export the boxes for this file, or, if only the stated size is wrong, set `boxes: clip`."
                refuse("size", record.path, InputError(f"{kept[0].where}: {fault}; {found}. {advice}"))
                return record._replace(size=size)  # its boxes are those of another image
            self._counts["", "of another size than stated"] += 1
        found = []
        for annotation in kept:
            if annotation.label not in self._places:
                fault = f"class {annotation.label!r} is not one of {[*self._places]}"
                refuse("class", record.path, InputError(f"{annotation.where}: {fault}."))
                continue
            box = annotation.box and self._box(annotation, annotation.box, size, record)
            if annotation.box and not box:
                self._counts["box", "without area dropped"] += 1
                continue
            self._counts["box", "clipped to the image"] += box != annotation.box
            args = annotation.shape, size, annotation.where
            shape = usable("annotation", record.path, read_shape, *args) if self._masks else None
            found.append(annotation._replace(box=box, shape=shape))
        return record._replace(annotations=found, size=size)

    def _box(self, annotation: Annotation, box: Box, size: tuple[int, int], record: Record) -> Box | None:
        """Returns the box as `checked_box` does; None also if it is refused."""
        found = usable("box", record.path, checked_box, box, size, self._boxes, annotation.where)
        if found != box and not is_refused(record.path):
            note("box", record.path, f"{annotation.where}: its box is {'clipped' if found else 'without area'}.")
        return found

    def _used(self, record: Record) -> Record | None:
        """Returns a record with its target first, or None if it is left out."""
        if not record.annotated:
            return record
        if self._objects == "labels":
            occurs = {annotation.label for annotation in record.annotations}
            labels = np.array([name in occurs for name in self._places], np.float32)
            return record._replace(annotations=[], others={**record.others, "labels": labels})
        if self._objects == "all":
            return self._with_all(record)
        found = [annotation for annotation in record.annotations if not annotation.crowd]
        if not found and self._absent:
            self._counts["", "without an object"] += 1
            return record._replace(annotations=[])
        chosen = self._choose(found, record)
        if not (chosen or record.others):
            return None
        rest = [annotation for annotation in found if annotation is not chosen]
        return record._replace(annotations=[chosen, *rest] if chosen else [])

    def _with_all(self, record: Record) -> Record | None:
        """Returns a record with all objects; one whose objects are not all known has none, and trains other targets."""
        found = record.annotations
        if not all(annotation.box for annotation in found):
            self._counts["", "with an object without a box, so not annotated"] += 1
            return record._replace(annotations=[], annotated=False) if record.others else None
        self._counts["", "without an object"] += not found
        self._counts["crowd", "(neither object nor background)"] += sum(one.crowd for one in found)
        return record

    def _choose(self, found: list[Annotation], record: Record) -> Annotation | None:
        if not (found or record.others):
            self._counts["", "left out without an object"] += 1
        if len(found) < 2:
            return found[0] if found else None
        if self._objects == "error":
            fault = f"{record.name} has {len(found)} objects, and only one can be the target"
            raise InputError(f"{found[1].where}: {fault}. Set `objects: largest`, `first`, `skip`, `labels` or `all`.")
        if self._objects == "skip":
            self._counts["", "left out with several objects"] += 1
            return None
        self._counts["", f"with several objects, where the {self._objects} counts"] += 1
        return found[0] if self._objects == "first" else max(found, key=area)
