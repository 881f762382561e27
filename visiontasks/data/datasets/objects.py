"""Images with annotated objects, one of which is the target."""

from collections import Counter
from collections.abc import Sequence
from os import fspath
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.depth import GrayRange
from visiontasks.core.errors import InputError
from visiontasks.core.images import read_size
from visiontasks.core.objects import Objects, make_objects
from visiontasks.data.datasets.base import FileSet
from visiontasks.data.datasets.files import Files
from visiontasks.data.datasets.records import Annotation, OnInvalidBox, Record, area, checked_box

OnSeveralObjects = Literal["largest", "first", "skip", "error", "labels", "all"]


class ObjectSet(FileSet):
    """Images with one label and one box each, made of records with any number of objects; `objects` returns all.

    Images without an object are left out, and the log counts them. `objects` and `boxes` are those of `VocBoxes`. An
    image of another size than its annotation states is an `error` too, or, with `clip`, is counted and used.
    """

    def __init__(
        self,
        records: Sequence[Record],
        class_names: list[str],
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
    ) -> None:
        self._places, all_occurring = {name: place for place, name in enumerate(class_names)}, objects == "labels"
        self._all = objects == "all"
        self.class_names, self.labels_names = ([], class_names) if all_occurring else (class_names, [])
        self._counts: Counter[str] = Counter()
        self._records: list[Record] = []
        for record in records:
            record = self._checked(record, boxes)
            found = record.annotations
            if all_occurring:
                occurs = {annotation.label for annotation in found}
                labels = np.array([name in occurs for name in class_names], np.float32)
                record = record._replace(others={**record.others, "labels": labels})
                found = []
            if self._all:
                self._counts["without an object"] += not found
                self._records.append(record)
                continue
            chosen = self._choose(found, objects, record)
            if chosen or record.others:
                rest = [annotation for annotation in found if annotation is not chosen]
                found = [chosen, *rest] if chosen else []
                self._records.append(record if found == record.annotations else record._replace(annotations=found))
        self.paths = Files([fspath(record.path) for record in self._records])
        counts = ", ".join(f"{count} {what}" for what, count in self._counts.items() if count)
        if counts:
            rank_zero_info(f"{type(self).__name__}: {len(self._records)} of {len(records)} images are used; {counts}.")
        if not any(record.annotations or record.others for record in self._records):
            raise InputError(f"{type(self).__name__}: no image with an object in {len(records)} images ({counts}).")

    def set_reading(self, gray_range: GrayRange | None, page: int | None = None) -> None:
        super().set_reading(gray_range, page)
        for record in self._records if page not in (None, 1) else []:
            if record.size and (found := read_size(record.path, page)) != record.size:
                (height, width), (first, second) = found, record.size
                fault = f"page {page} has {width} x {height} pixels, and page 1, by which boxes are checked, has"
                raise InputError(f"{record.path}: {fault} {second} x {first}. Export the page as a file.")

    def size(self, index: int) -> tuple[int, int]:
        return self._records[index].size or super().size(index)

    def target(self, index: int) -> dict[str, Any]:
        record = self._records[index]
        if self._all:
            return {"objects": self.objects(index), **record.others}
        if not record.annotations:
            return record.others
        label, box, *_ = record.annotations[0]
        known = {} if box is None else {"bbox": np.array(box, np.float32)}
        return {"label": self._places[label], **known, **record.others}

    def objects(self, index: int) -> Objects:
        known = [a for a in self._records[index].annotations if a.box]
        return make_objects([a.box for a in known], [self._places[a.label] for a in known], [a.crowd for a in known])

    def name(self, index: int) -> str:
        return self._records[index].name

    def _checked(self, record: Record, boxes: OnInvalidBox) -> Record:
        """Returns an image with its usable annotations, clipped if `boxes` is `clip`, and, for boxes, its true size."""
        if not any(annotation.box for annotation in record.annotations):
            return record._replace(size=None) if record.size else record
        size = read_size(record.path)
        if record.size and record.size != size:
            if boxes == "error":
                fault = f"made for an image of {record.size[1]} x {record.size[0]} pixels"
                found = f"{record.path} has {size[1]} x {size[0]}, upright"
                advice = "Export the boxes for this file, or, if only the stated size is wrong, set `boxes: clip`."
                raise InputError(f"{record.annotations[0].where}: {fault}; {found}. {advice}")
            self._counts["of another size than stated"] += 1
        found = []
        for annotation in record.annotations:
            if annotation.label not in self._places:
                raise InputError(f"{annotation.where}: class {annotation.label!r} is not one of {[*self._places]}.")
            box = annotation.box and checked_box(annotation.box, size, boxes, annotation.where)
            if annotation.box and not box:
                self._counts["boxes without area dropped"] += 1
                continue
            self._counts["boxes clipped to their image"] += box != annotation.box
            found.append(annotation if box == annotation.box else annotation._replace(box=box))
        return record._replace(annotations=found, size=size)

    def _choose(self, found: list[Annotation], objects: OnSeveralObjects, record: Record) -> Annotation | None:
        if not (found or record.others):
            self._counts["left out without an object"] += 1
        if len(found) < 2:
            return found[0] if found else None
        if objects == "error":
            fault = f"{record.name} has {len(found)} objects, and only one can be the target"
            raise InputError(f"{found[1].where}: {fault}. Set `objects: largest`, `first`, `skip` or `labels`.")
        if objects == "skip":
            self._counts["left out with several objects"] += 1
            return None
        self._counts[f"with several objects, of which the {objects} counts"] += 1
        return found[0] if objects == "first" else max(found, key=area)
