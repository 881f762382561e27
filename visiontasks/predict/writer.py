"""Writes predictions as files."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from visiontasks.core.draw import palette
from visiontasks.core.files import atomic_write, cannot_be_written, write_json
from visiontasks.core.sample import Sample
from visiontasks.predict.sources import Source
from visiontasks.targets.sample import draw_sample, row_of

_COCO_KEYS = {"size", "bbox", "label", "score"}


class PredictionWriter:
    """Writes predictions one by one into an existing folder.

    `predictions.csv` has one line per image, in the given order: `path` and the columns of each target: `label` (the
    class name), `score`, the box as `xmin`, `ymin`, `xmax`, `ymax` in pixels of the image, the `mask` file and the
    share of the pixels of each class. `predictions.jsonl` has the same rows as JSON objects, one per line, with the
    height and width of the image. `predictions.json` has the boxes as a complete COCO file. `masks/` has PNGs of class
    indices with a palette, `overlays/` the predictions drawn on their images, both named `<number>_<name>.png`. Bytes
    of a file name that are not UTF-8 are escaped. The tables end with `.part` until all images are predicted, and keep
    their rows if the run stops early; every PNG is complete. Results of an earlier run in the folder are removed first.

    Args:
        folder: The output folder.
        spec: The spec of the model.
        probabilities: Also write the probability of each class.
        overlays: Draw each prediction on its image.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], probabilities: bool = False, overlays: bool = False) -> None:
        self.folder, self.spec, self.overlays, self.probabilities = folder, spec, overlays, probabilities

    def write(self, predictions: Iterable[tuple[Source, Sample]]) -> int:
        """Writes all predictions of `Predictor.stream` and returns their number.

        Raises:
            InputError: A file cannot be written, for example because the disk is full.
        """
        boxes: list[tuple[str, Sample]] = []
        count = 0
        table, lines = (self.folder / f"predictions.{kind}.part" for kind in ("csv", "jsonl"))
        with cannot_be_written(self.folder):
            self._clear()
        with (
            cannot_be_written(table),
            table.open("w", newline="", encoding="utf-8", errors="backslashreplace") as rows,
            lines.open("w", encoding="utf-8", errors="backslashreplace") as objects,
        ):
            for count, (source, sample) in enumerate(predictions, 1):
                name = source.name.encode("utf-8", "backslashreplace").decode()
                row = {"path": name, **self._row(name, sample)}
                writer = csv.DictWriter(rows, list(row))
                if count == 1:
                    writer.writeheader()
                writer.writerow(row)
                height, width = sample["size"]
                objects.write(json.dumps({**row, "height": height, "width": width}, ensure_ascii=False) + "\n")
                if self.overlays:
                    drawn = draw_sample(source.read(self.spec.get("gray_range")), sample, self.spec)
                    self._save("overlays", name, sample, Image.fromarray(drawn))
                if "bbox" in sample:
                    boxes.append((name, {key: sample[key] for key in _COCO_KEYS & sample.keys()}))
        if boxes:
            write_json(self.folder / "predictions.json", _coco(boxes, self.spec["class_names"]))
        with cannot_be_written(table):
            table.replace(self.folder / "predictions.csv")
            lines.replace(self.folder / "predictions.jsonl")
        return count

    def _clear(self) -> None:
        for name in ("predictions.csv", "predictions.jsonl", "predictions.json"):
            (self.folder / name).unlink(missing_ok=True)
        for kind in ("masks", "overlays"):
            for path in (self.folder / kind).glob("[0-9]*_*.png"):
                path.unlink()

    def _row(self, name: str, sample: Sample) -> dict[str, Any]:
        file = {"mask": self._save("masks", name, sample, _index_image(sample))} if "mask" in sample else {}
        row = {**file, **row_of(sample, self.spec)}
        return row if self.probabilities else {k: v for k, v in row.items() if not k.startswith("probability of ")}

    def _save(self, kind: str, name: str, sample: Sample, picture: Image.Image) -> str:
        """Saves a PNG and returns its path relative to the folder."""
        stem = Path(name).stem.encode("ascii", "replace").decode()[:100]
        file = f"{kind}/{sample['index']:05d}_{''.join(c if c.isalnum() or c in '-_.' else '_' for c in stem)}.png"
        with cannot_be_written(self.folder / kind):
            (self.folder / kind).mkdir(exist_ok=True)
        with atomic_write(self.folder / file) as path:
            picture.save(path)
        return file


def _index_image(sample: Sample) -> Image.Image:
    image = Image.fromarray(sample["mask"], "P")
    image.putpalette(palette().ravel().tolist())
    return image


def _coco(boxes: list[tuple[str, Sample]], class_names: Sequence[str]) -> dict[str, Any]:
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names, 1)]
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    for number, (name, sample) in enumerate(boxes, 1):
        height, width = sample["size"]
        x1, y1, x2, y2 = (round(float(value), 2) for value in sample["bbox"])
        content["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        box = {"bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "area": round((x2 - x1) * (y2 - y1), 2)}
        score = {"score": round(sample["score"], 6)} if "score" in sample else {}
        known = {"id": number, "image_id": number, "category_id": sample.get("label", 0) + 1, "iscrowd": 0}
        content["annotations"].append({**known, **box, **score})
    return content
