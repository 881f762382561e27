"""Writes predictions as files."""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visiontasks.core.draw import palette
from visiontasks.core.errors import InputError
from visiontasks.core.files import CsvWriter, write_csv, write_json
from visiontasks.core.images import reading, shown
from visiontasks.core.objects import Objects
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.sample import Sample
from visiontasks.predict.boxes import CocoFile, boxes_of, categories, regions_of, yolo_lines
from visiontasks.predict.sources import Skipped, Source
from visiontasks.predict.tally import Tally
from visiontasks.targets.sample import draw_sample, record_of, rows_of

NAMES = (
    *(f"predictions.{kind}" for kind in ("csv", "jsonl", "json")),
    "coco_results.json",
    "labels/*.txt",
    "skipped.csv",
    *(f"{kind}/[0-9]*_*.png" for kind in ("masks", "overlays")),
)
SMALLEST = 320  # pixels of the sides of an overlay at least, so that texts fit


class PredictionWriter:
    """Writes predictions one by one into a folder.

    `predictions.csv` has one line per image, in the given order: `path` and the columns of each target: `label` (the
    class name), `score`, the box as `xmin`, `ymin`, `xmax`, `ymax` in pixels of the image, the `mask` file and the
    share of the pixels of each class. Of several `objects` each has a line, and an image without any has one with
    empty cells. `predictions.jsonl` has the same values as JSON objects, one per image, with the height and width of
    the image and a list of the objects. `predictions.json` has the boxes as a complete COCO file. With `objects`
    there are also `coco_results.json`, the boxes in COCO's format of results, and on request `labels/`, the boxes in
    the format of YOLO. On request both COCO files are written for masks too, with the pixels of each class in an image
    as one annotation. `skipped.csv` names what was left out or could not be read, and why. `masks/` has PNGs of class
    indices with a palette, `overlays/` the predictions drawn on their images, small ones enlarged, both named
    `<number>_<name>.png`. Bytes of a file name that are not UTF-8 are escaped. The tables end with `.part` until all
    images are predicted, and keep their rows if the run stops early; every PNG is complete. Results of an earlier run
    in the folder are removed first; see `OutputFolder`. `tally` sums up all predictions.

    Args:
        folder: The output folder, which is created if it is missing.
        spec: The spec of the model.
        probabilities: Also write the probability of each class.
        overlays: Draw each prediction on its image.
        yolo: Write the objects of each image as `labels/<name>.txt`, a line `class cx cy w h score` for each, in shares
            of the image.
        mask_values: The value, 0..255, of the pixels of each class in the PNGs of masks, which have no palette then.
        coco: If given, how pixels are written in COCO files, see `SEGMENTATIONS`, also those of masks.
        places: If given, masks are named after the `place` of their source; these are all of them.

    Raises:
        InputError: The folder cannot be written to, or holds files of these names that no earlier run wrote; or the
            values of the masks are not those of all classes.
    """

    def __init__(
        self,
        folder: Path,
        spec: dict[str, Any],
        probabilities: bool = False,
        overlays: bool = False,
        yolo: bool = False,
        mask_values: Sequence[int] | None = None,
        places: Sequence[str] | None = None,
        coco: str | None = None,
    ) -> None:
        self.spec, self.overlays, self.probabilities, self.yolo = spec, overlays, probabilities, yolo
        self.mask_values, self.keeps_names, self.coco = mask_values, places is not None, coco
        names = spec.get("mask_names", [])
        if mask_values is not None and (len(mask_values) != len(names) or not {*mask_values} <= {*range(256)}):
            raise InputError(
                f"--mask_values: found {', '.join(map(str, mask_values))}; expected a number from 0 to 255 for each of "
                f"the {len(names)} classes: {', '.join(names)}."
            )
        self.tally = Tally(spec)
        self.folder = OutputFolder(folder, *NAMES, *(escape(f"masks/{place}.png") for place in places or ()))

    def write(self, predictions: Iterable[tuple[Source, Sample]], skipped: Iterable[Skipped] = ()) -> int:
        """Writes all predictions of `Predictor.stream` and returns their number.

        Args:
            predictions: The predictions.
            skipped: What was left out; it is read at the end, also after an error.

        Raises:
            InputError: A file cannot be written, for example because the disk is full.
        """
        self.folder.clear("masks/**/*.png")
        self._texts: set[str] = set()
        coco: CocoFile | None = None
        count, results = 0, False
        with (
            self._skipped(skipped),
            self.folder.write_lines("predictions.csv") as rows,
            self.folder.write_lines("predictions.jsonl") as objects,
        ):
            table = CsvWriter(rows)
            for count, (source, sample) in enumerate(predictions, 1):
                name = shown(source.name)
                files = {"path": name, **self._files(source, sample)}
                for number, row in enumerate(rows_of(sample, self.spec)):
                    row = files | self._chosen(row)
                    if count == 1 and number == 0:
                        table.row(row)
                    table.row(row.values())
                height, width = sample["size"]
                self.tally.add(found := record_of(sample, self.spec))
                record = files | self._chosen(found) | {"height": height, "width": width}
                objects.write(json.dumps(record, ensure_ascii=False) + "\n")
                if self.overlays:
                    drawn = draw_sample(source.read(*reading(self.spec)), sample, self.spec, side=SMALLEST)
                    self._save(_numbered("overlays", name, sample), Image.fromarray(drawn))
                if (regions := self._regions(sample)) is not None:
                    results = "objects" in sample or "bbox" not in sample
                    coco = coco or CocoFile(self._categories(sample), self.coco or "uncompressed_rle")
                    coco.add(name, sample["size"], regions)
                if self.yolo and (boxes := boxes_of(sample)) is not None:
                    self._save_yolo(name, sample, boxes)
            if coco:
                with self.folder.write("predictions.json") as path:
                    write_json(path, coco.content)
            if coco and results:
                with self.folder.write("coco_results.json") as path:
                    write_json(path, coco.results)
        return count

    @contextmanager
    def _skipped(self, skipped: Iterable[Skipped]) -> Generator[None]:
        """Writes `skipped.csv` at the end, also after an error."""
        try:
            yield
        finally:
            if rows := [{"path": shown(name), "reason": str(reason)} for name, reason in skipped]:
                with self.folder.write("skipped.csv") as path:
                    write_csv(path, rows)

    def _files(self, source: Source, sample: Sample) -> dict[str, Any]:
        if "mask" not in sample:
            return {}
        picture = _index_image(sample["mask"], self.mask_values)
        file = f"masks/{source.place}.png" if self.keeps_names else _numbered("masks", shown(source.name), sample)
        return {"mask": self._save(file, picture)}

    def _regions(self, sample: Sample) -> Iterable[Objects] | None:
        """Returns what a COCO file has of an image: its boxes, or, on request, the classes of its mask."""
        if (boxes := boxes_of(sample)) is None:
            return regions_of(sample, self.spec["mask_names"]) if self.coco and "mask" in sample else None
        if self.coco and "masks" not in boxes:
            raise InputError("--coco: it is for pixels, and the boxes of this model have none. Leave it out.")
        return [boxes]

    def _categories(self, sample: Sample) -> list[str]:
        is_mask = boxes_of(sample) is None
        return categories(self.spec["mask_names"]) if is_mask else self.spec.get("class_names", [])

    def _chosen(self, row: dict[str, Any]) -> dict[str, Any]:
        return row if self.probabilities else {k: v for k, v in row.items() if not k.startswith("probability of ")}

    def _save(self, file: str, picture: Image.Image) -> str:
        """Saves a PNG and returns its path relative to the folder."""
        with self.folder.write(file) as path:
            picture.save(path, "PNG")
        return file

    def _save_yolo(self, name: str, sample: Sample, found: Objects) -> None:
        """Saves the text file of an image, named like it, or with its number if another image has the name."""
        file = f"{_stem(name)}.txt"
        if file in self._texts:
            file = f"{sample['index']:05d}_{file}"
        self._texts.add(file)
        with self.folder.write(f"labels/{file}") as path:
            path.write_text(yolo_lines(sample["size"], found), "utf-8")


def _stem(name: str) -> str:
    stem = Path(name).stem.encode("ascii", "replace").decode()[:100]
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in stem)


def _numbered(kind: str, name: str, sample: Sample) -> str:
    return f"{kind}/{sample['index']:05d}_{_stem(name)}.png"


def _index_image(mask: np.ndarray, values: Sequence[int] | None) -> Image.Image:
    """Returns an image of class indices with a palette, or with a value for each class."""
    if values is not None:
        return Image.fromarray(np.array(values, np.uint8)[mask])
    image = Image.fromarray(mask, "P")
    image.putpalette(palette().ravel().tolist())
    return image
