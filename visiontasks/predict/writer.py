"""Predictions as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visiontasks.core.draw import draw, palette
from visiontasks.core.files import cannot_be_written, whole_file, write_json
from visiontasks.core.sample import Sample
from visiontasks.predict.sources import Source

CORNERS = ("xmin", "ymin", "xmax", "ymax")


class PredictionWriter:
    """Writes predictions one by one into a folder that exists.

    `predictions.csv` has a line an image, in the order given: `path`, and as far as they are predicted `label` (the
    class's name), `score`, the box as `xmin`, `ymin`, `xmax`, `ymax` in pixels of the image, and for a mask its file
    and the share of the pixels that each of its classes has. `predictions.jsonl` says the same, a JSON object a line.
    `predictions.json` has the boxes as a COCO file that is complete in itself. `masks/` has PNGs of class indices with
    a palette, `overlays/` the predictions drawn on their images, both named `<number>_<name>.png`. A file name that is
    not UTF-8 has its odd bytes escaped. The tables are named `.part` until all is done, and keep what was
    predicted before a stop; every PNG is whole. What an earlier run left of all these is removed at the start.

    Args:
        folder: Where the files go.
        spec: `class_names` and `mask_names` of the model.
        probabilities: Write the probability of every class of the label too.
        overlays: Draw each prediction on its image.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], probabilities: bool = False, overlays: bool = False) -> None:
        self.folder, self.overlays, self.probabilities = folder, overlays, probabilities
        self.class_names, self.mask_names = spec["class_names"], spec.get("mask_names", [])

    def write(self, predictions: Iterable[tuple[Source, Sample]]) -> int:
        """Writes them all, as `Predictor.stream` gives them; returns how many there were.

        Raises:
            InputError: A file cannot be written, as on a full disk.
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
                mask = self._save("masks", name, sample, _index_image) if "mask" in sample else None
                row = self._row(name, sample, mask)
                writer = csv.DictWriter(rows, list(row))
                if count == 1:
                    writer.writeheader()
                writer.writerow(row)
                objects.write(json.dumps(self._object(name, sample, mask), ensure_ascii=False) + "\n")
                if self.overlays:
                    picture = draw(source.read(), sample, self.class_names)
                    self._save("overlays", name, sample, lambda _, picture=picture: Image.fromarray(picture))
                if "bbox" in sample:
                    known = {"label": sample.get("label", 0), "score": sample.get("score")}
                    boxes.append((name, {"size": sample["size"], "bbox": sample["bbox"], **known}))
        if boxes:
            write_json(self.folder / "predictions.json", _coco(boxes, self.class_names))
        with cannot_be_written(table):
            table.replace(self.folder / "predictions.csv")
            lines.replace(self.folder / "predictions.jsonl")
        return count

    def _clear(self) -> None:
        """Removes what an earlier run left here: it would be taken for this one's."""
        for name in ("predictions.csv", "predictions.jsonl", "predictions.json"):
            (self.folder / name).unlink(missing_ok=True)
        for kind in ("masks", "overlays"):
            for path in (self.folder / kind).glob("[0-9]*_*.png"):
                path.unlink()

    def _row(self, name: str, sample: Sample, mask: str | None) -> dict[str, Any]:
        row: dict[str, Any] = {"path": name}
        if "class_name" in sample:
            row["label"] = sample["class_name"]
        if "score" in sample:
            row["score"] = f"{sample['score']:.6f}"
        if "bbox" in sample:
            row |= {corner: f"{x:.2f}" for corner, x in zip(CORNERS, sample["bbox"], strict=True)}
        if self.probabilities and "probabilities" in sample:
            row |= {
                f"probability of {name}": f"{x:.6f}"
                for name, x in zip(self.class_names, sample["probabilities"], strict=True)
            }
        if mask:
            row["mask"] = mask
            row |= {f"share of {name}": f"{share:.6f}" for name, share in self._shares(sample).items()}
        return row

    def _object(self, name: str, sample: Sample, mask: str | None) -> dict[str, Any]:
        height, width = sample["size"]
        content: dict[str, Any] = {"path": name, "height": height, "width": width}
        if "class_name" in sample:
            content["label"] = sample["class_name"]
        if "score" in sample:
            content["score"] = round(sample["score"], 6)
        if "bbox" in sample:
            content["bbox"] = [round(float(x), 2) for x in sample["bbox"]]
        if self.probabilities and "probabilities" in sample:
            pairs = zip(self.class_names, sample["probabilities"].tolist(), strict=True)
            content["probabilities"] = {name: round(value, 6) for name, value in pairs}
        if mask:
            content |= {"mask": mask, "shares": {key: round(x, 6) for key, x in self._shares(sample).items()}}
        return content

    def _shares(self, sample: Sample) -> dict[str, float]:
        counts = np.bincount(sample["mask"].ravel(), minlength=len(self.mask_names))
        return dict(zip(self.mask_names, (counts / sample["mask"].size).tolist(), strict=True))

    def _save(self, kind: str, name: str, sample: Sample, picture: Any) -> str:
        """Saves a PNG, and returns its place in the folder."""
        stem = Path(name).stem.encode("ascii", "replace").decode()[:100]
        file = f"{kind}/{sample['index']:05d}_{''.join(c if c.isalnum() or c in '-_.' else '_' for c in stem)}.png"
        with cannot_be_written(self.folder / kind):
            (self.folder / kind).mkdir(exist_ok=True)
        with whole_file(self.folder / file) as path:
            picture(sample).save(path)
        return file


def _index_image(sample: Sample) -> Image.Image:
    image = Image.fromarray(sample["mask"], "P")
    image.putpalette(palette().ravel().tolist())
    return image


def _coco(boxes: list[tuple[str, Sample]], class_names: Sequence[str]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(class_names, 1)],
    }
    for number, (name, sample) in enumerate(boxes, 1):
        height, width = sample["size"]
        x1, y1, x2, y2 = (round(float(value), 2) for value in sample["bbox"])
        content["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        box = {"bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "area": round((x2 - x1) * (y2 - y1), 2)}
        score = {} if sample["score"] is None else {"score": round(sample["score"], 6)}
        known = {"id": number, "image_id": number, "category_id": sample["label"] + 1, "iscrowd": 0}
        content["annotations"].append({**known, **box, **score})
    return content
