"""Predictions as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from rich.progress import track

from visiontasks.data.datasets.files import Images
from visiontasks.draw import draw
from visiontasks.samples import Sample


def write_csv(
    path: Path, images: Images, predictions: list[Sample], class_names: Sequence[str], probabilities: bool = False
) -> None:
    """Writes a line an image: `path`, and as far as they are predicted `label` (the class's name), `score`, the box.

    The box is `xmin`, `ymin`, `xmax`, `ymax` in pixels of the image; with `probabilities` there is a column a class.
    The order is that of the images. A file name that is not UTF-8 has its odd bytes escaped.
    """
    known = predictions[0] if predictions else {}
    header = ["path", "label"]
    header += ["score"] if "score" in known else []
    header += ["xmin", "ymin", "xmax", "ymax"] if "bbox" in known else []
    header += class_names if probabilities and "probabilities" in known else []
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for sample in predictions:
            row = [images.name(sample["index"]), sample["class_name"]]
            row += [f"{sample['score']:.6f}"] if "score" in sample else []
            row += [f"{value:.2f}" for value in sample.get("bbox", ())]
            row += [f"{value:.6f}" for value in sample.get("probabilities", ())] if probabilities else []
            writer.writerow(row)


def write_coco(path: Path, images: Images, predictions: list[Sample], class_names: Sequence[str]) -> None:
    """Writes the boxes as a COCO file that is complete in itself: images, categories, annotations (with `score`)."""
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(class_names, 1)],
    }
    for number, sample in enumerate(predictions, 1):
        height, width = (int(value) for value in sample["size"])
        x1, y1, x2, y2 = (round(float(value), 2) for value in sample["bbox"])
        name = images.name(sample["index"]).encode("utf-8", "backslashreplace").decode()
        content["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        box = {"bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "area": round((x2 - x1) * (y2 - y1), 2)}
        score = {"score": round(sample["score"], 6)} if "score" in sample else {}
        known = {"id": number, "image_id": number, "category_id": sample["label"] + 1, "iscrowd": 0}
        content["annotations"].append({**known, **box, **score})
    path.write_text(json.dumps(content, indent=1), "utf-8")


def write_overlays(folder: Path, images: Images, predictions: list[Sample], class_names: Sequence[str]) -> None:
    """Draws each prediction on its image: `<number>_<name>.png` in a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in track(predictions, "Overlays", transient=True):
        index = sample["index"]
        picture = draw(images.image(index), sample, class_names)
        name = Path(images.name(index)).stem.encode("ascii", "replace").decode().replace("?", "_")
        Image.fromarray(picture).save(folder / f"{index:05d}_{name}.png")
