"""Writes predictions as files."""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from visiontasks.core.draw import palette
from visiontasks.core.files import CsvWriter, write_csv, write_json
from visiontasks.core.images import reading, shown
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.sample import Sample
from visiontasks.predict.sources import Skipped, Source
from visiontasks.targets.bbox import is_absent
from visiontasks.targets.sample import draw_sample, row_of

NAMES = (
    *(f"predictions.{kind}" for kind in ("csv", "jsonl", "json")),
    "skipped.csv",
    *(f"{kind}/[0-9]*_*.png" for kind in ("masks", "overlays")),
)
_COCO_KEYS = {"size", "bbox", "label", "score"}


class PredictionWriter:
    """Writes predictions one by one into a folder.

    `predictions.csv` has one line per image, in the given order: `path` and the columns of each target: `label` (the
    class name), `score`, the box as `xmin`, `ymin`, `xmax`, `ymax` in pixels of the image, the `mask` file and the
    share of the pixels of each class. `predictions.jsonl` has the same rows as JSON objects, one per line, with the
    height and width of the image. `predictions.json` has the boxes as a complete COCO file. `skipped.csv` names what
    was left out or could not be read, and why. `masks/` has PNGs of class indices with a palette, `overlays/` the
    predictions drawn on their images, both named `<number>_<name>.png`. Bytes of a file name that are not UTF-8 are
    escaped. The tables end with `.part` until all images are predicted, and keep their rows if the run stops early;
    every PNG is complete. Results of an earlier run in the folder are removed first; see `OutputFolder`.

    Args:
        folder: The output folder, which is created if it is missing.
        spec: The spec of the model.
        probabilities: Also write the probability of each class.
        overlays: Draw each prediction on its image.

    Raises:
        InputError: The folder cannot be written to, or holds files of these names that no earlier run wrote.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], probabilities: bool = False, overlays: bool = False) -> None:
        self.spec, self.overlays, self.probabilities = spec, overlays, probabilities
        self.folder = OutputFolder(folder, *NAMES)

    def write(self, predictions: Iterable[tuple[Source, Sample]], skipped: Iterable[Skipped] = ()) -> int:
        """Writes all predictions of `Predictor.stream` and returns their number.

        Args:
            predictions: The predictions.
            skipped: What was left out; it is read at the end, also after an error.

        Raises:
            InputError: A file cannot be written, for example because the disk is full.
        """
        self.folder.clear()
        boxes: list[tuple[str, Sample]] = []
        count = 0
        with (
            self._skipped(skipped),
            self.folder.write_lines("predictions.csv") as rows,
            self.folder.write_lines("predictions.jsonl") as objects,
        ):
            table = CsvWriter(rows)
            for count, (source, sample) in enumerate(predictions, 1):
                name = shown(source.name)
                row = {"path": name, **self._row(name, sample)}
                if count == 1:
                    table.row(row)
                table.row(row.values())
                height, width = sample["size"]
                objects.write(json.dumps({**row, "height": height, "width": width}, ensure_ascii=False) + "\n")
                if self.overlays:
                    drawn = draw_sample(source.read(*reading(self.spec)), sample, self.spec)
                    self._save("overlays", name, sample, Image.fromarray(drawn))
                if "bbox" in sample:
                    boxes.append((name, {key: sample[key] for key in _COCO_KEYS & sample.keys()}))
            if boxes:
                with self.folder.write("predictions.json") as path:
                    write_json(path, _coco(boxes, self.spec["class_names"]))
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

    def _row(self, name: str, sample: Sample) -> dict[str, Any]:
        file = {"mask": self._save("masks", name, sample, _index_image(sample))} if "mask" in sample else {}
        row = {**file, **row_of(sample, self.spec)}
        return row if self.probabilities else {k: v for k, v in row.items() if not k.startswith("probability of ")}

    def _save(self, kind: str, name: str, sample: Sample, picture: Image.Image) -> str:
        """Saves a PNG and returns its path relative to the folder."""
        stem = Path(name).stem.encode("ascii", "replace").decode()[:100]
        file = f"{kind}/{sample['index']:05d}_{''.join(c if c.isalnum() or c in '-_.' else '_' for c in stem)}.png"
        with self.folder.write(file) as path:
            picture.save(path, "PNG")
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
        if is_absent(sample["bbox"]):
            continue
        box = {"bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "area": round((x2 - x1) * (y2 - y1), 2)}
        score = {"score": round(sample["score"], 6)} if "score" in sample else {}
        known = {"id": number, "image_id": number, "category_id": sample.get("label", 0) + 1, "iscrowd": 0}
        content["annotations"].append({**known, **box, **score})
    return content
