"""Predictions as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visiontasks.data.datasets.files import Images
from visiontasks.draw import draw, palette
from visiontasks.samples import InputError, Sample


def make_folder(path: Path) -> None:
    """Makes the folder that `--output` names, where there is none.

    Raises:
        InputError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {path}: the folder cannot be made ({error.strerror}).") from None


class PredictionWriter:
    """Writes predictions one by one into a folder that exists.

    `predictions.csv` has a line an image, in the order given: `path`, and as far as they are predicted `label` (the
    class's name), `score`, the box as `xmin`, `ymin`, `xmax`, `ymax` in pixels of the image, and for a mask its file
    and the share of the pixels that each of its classes has. `predictions.json` has the boxes as a COCO file that is
    complete in itself. `masks/` has PNGs of class indices with a palette, `overlays/` the predictions drawn on their
    images, both named `<number>_<name>.png`. A file name that is not UTF-8 has its odd bytes escaped. The CSV and the
    JSON file appear when all is done.

    Args:
        folder: Where the files go.
        images: What is predicted.
        spec: `class_names` and `mask_names` of the model.
        probabilities: Write the probability of every class of the label too.
        overlays: Draw each prediction on its image.
    """

    def __init__(
        self, folder: Path, images: Images, spec: dict[str, Any], probabilities: bool = False, overlays: bool = False
    ) -> None:
        self.folder, self.images, self.overlays = folder, images, overlays
        self.class_names, self.mask_names = spec["class_names"], spec.get("mask_names", [])
        self.probabilities = probabilities

    def write(self, predictions: Iterable[Sample]) -> int:
        """Writes them all, as `Predictor.stream` gives them; returns how many there were."""
        part, boxes, count = self.folder / "predictions.csv.part", [], 0
        with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            for count, sample in enumerate(predictions, 1):
                row = self._row(sample)
                writer = csv.DictWriter(file, list(row))
                if count == 1:
                    writer.writeheader()
                writer.writerow(row)
                if "mask" in sample:
                    self._save("masks", sample, _index_image(sample["mask"]))
                if self.overlays:
                    picture = draw(self.images.image(sample["index"]), sample, self.class_names)
                    self._save("overlays", sample, Image.fromarray(picture))
                if "bbox" in sample:
                    boxes.append(
                        {key: sample[key] for key in ("index", "size", "bbox", "label", "score") if key in sample}
                    )
        part.replace(self.folder / "predictions.csv")
        if boxes:
            content = json.dumps(_coco(boxes, self.images, self.class_names), indent=1)
            (self.folder / "predictions.json").write_text(content, "utf-8")
        return count

    def _row(self, sample: Sample) -> dict[str, Any]:
        row: dict[str, Any] = {"path": self.images.name(sample["index"])}
        if "class_name" in sample:
            row["label"] = sample["class_name"]
        if "score" in sample:
            row["score"] = f"{sample['score']:.6f}"
        if "bbox" in sample:
            row |= {name: f"{x:.2f}" for name, x in zip(("xmin", "ymin", "xmax", "ymax"), sample["bbox"], strict=True)}
        if self.probabilities and "probabilities" in sample:
            row |= {name: f"{x:.6f}" for name, x in zip(self.class_names, sample["probabilities"], strict=True)}
        if "mask" in sample:
            counts = np.bincount(sample["mask"].ravel(), minlength=len(self.mask_names))
            shares = zip(self.mask_names, counts / sample["mask"].size, strict=True)
            row |= {"mask": self._file("masks", sample)} | {f"share of {name}": f"{x:.6f}" for name, x in shares}
        return row

    def _save(self, kind: str, sample: Sample, picture: Image.Image) -> None:
        path = self.folder / self._file(kind, sample)
        path.parent.mkdir(exist_ok=True)
        picture.save(path)

    def _file(self, kind: str, sample: Sample) -> str:
        name = Path(self.images.name(sample["index"])).stem.encode("ascii", "replace").decode().replace("?", "_")
        return f"{kind}/{sample['index']:05d}_{name}.png"


def _index_image(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask, "P")
    image.putpalette(palette().ravel().tolist())
    return image


def _coco(samples: list[Sample], images: Images, class_names: Sequence[str]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(class_names, 1)],
    }
    for number, sample in enumerate(samples, 1):
        height, width = (int(value) for value in sample["size"])
        x1, y1, x2, y2 = (round(float(value), 2) for value in sample["bbox"])
        name = images.name(sample["index"]).encode("utf-8", "backslashreplace").decode()
        content["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        box = {"bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "area": round((x2 - x1) * (y2 - y1), 2)}
        score = {"score": round(sample["score"], 6)} if "score" in sample else {}
        known = {"id": number, "image_id": number, "category_id": sample["label"] + 1, "iscrowd": 0}
        content["annotations"].append({**known, **box, **score})
    return content
