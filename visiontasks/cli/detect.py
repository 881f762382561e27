"""All objects of images, as files and as a figure."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torchmetrics.detection import MeanAveragePrecision

from visiontasks.cli.imports import import_modules
from visiontasks.core.draw import draw
from visiontasks.core.errors import InputError
from visiontasks.core.files import make_folder
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.windows import BACKGROUND
from visiontasks.predict.sliding import Detector
from visiontasks.predict.sources import find_sources
from visiontasks.predict.torch_network import find_device
from visiontasks.tasks.restore import restore_task

Objects = dict[str, np.ndarray]
HEADER = ("path", "label", "score", "xmin", "ymin", "xmax", "ymax")


def average_precision(detector: Detector, dataset: VisionDataset) -> dict[str, float]:
    """Average precision over a set of images with `objects`, as COCO computes it (torchmetrics, pycocotools).

    Args:
        detector: Of a low threshold: the curve of precision and recall wants the doubtful boxes too.
        dataset: Of the detector's classes.

    Returns:
        `map` over IoU 0.5:0.95, `map_50`, `map_75`, and the `map` of each class by its name.

    Raises:
        InputError: The dataset has other classes.
    """
    names = [name for name in detector.class_names if name != BACKGROUND]
    if dataset.class_names != names:
        raise InputError(f"class_names: the images have {dataset.class_names}, the model {names}. Take other images.")
    metric = MeanAveragePrecision(class_metrics=True)
    for index in track(range(len(dataset)), "Detecting", transient=True):
        boxes, labels = dataset.objects(index)
        found, true = detector.detect(dataset.image(index)), {"boxes": boxes, "labels": labels}
        metric.update(*([{key: torch.from_numpy(value) for key, value in one.items()}] for one in (found, true)))
    result = metric.compute()
    by_class = dict(zip(result["classes"].view(-1).tolist(), result["map_per_class"].view(-1).tolist(), strict=True))
    figures = {key: float(result[key]) for key in ("map", "map_50", "map_75")}
    return figures | {names[label]: figure for label, figure in by_class.items()}


def write_detections(folder: Path, found: Iterable[tuple[str, np.ndarray, Objects]], names: list[str]) -> int:
    """Writes `detections.csv`, a line a box, and `overlays/`, every image with its boxes; returns how many boxes.

    Args:
        folder: Where the files go; it exists.
        found: Of each image its name, its pixels and what `Detector.detect` gives.
        names: Name of every class.
    """
    part, count = folder / "detections.csv.part", 0
    (folder / "overlays").mkdir(exist_ok=True)
    with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for index, (name, picture, objects) in enumerate(found):
            for box, label, score in reversed(list(zip(*(objects[key] for key in objects), strict=True))):
                picture = draw(picture, {"bbox": box, "label": label, "score": score}, names)
            for box, label, score in zip(*(objects[key] for key in objects), strict=True):
                writer.writerow([name, names[label], f"{score:.6f}", *(f"{x:.2f}" for x in box)])
                count += 1
            stem = Path(name).stem.encode("ascii", "replace").decode().replace("?", "_")
            Image.fromarray(picture).save(folder / "overlays" / f"{index:05d}_{stem}.png")
    part.replace(folder / "detections.csv")
    return count


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """The command `visiontasks detect`."""
    task = restore_task(options.checkpoint, import_modules(options.imports)).to(find_device(options.device))
    detector = Detector(task, options.scales, options.threshold, options.iou)
    sources = find_sources(options.source)
    make_folder(options.output)
    images = ((source.name, source.read()) for source in sources)
    found = ((name, image, detector.detect(image)) for name, image in images)
    shown = track(found, "Detecting", sources.count(), transient=True)
    count = write_detections(options.output, shown, detector.class_names)
    print(f"{count} objects in {sources.count()} images: {options.output / 'detections.csv'}")
