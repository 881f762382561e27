"""The command `visiontasks detect`, and the average precision of a detector."""

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchmetrics.detection import MeanAveragePrecision

from visiontasks.cli import predict
from visiontasks.cli.arguments import parse
from visiontasks.cli.imports import import_modules
from visiontasks.core.errors import InputError
from visiontasks.core.files import write_csv
from visiontasks.core.images import reading
from visiontasks.core.lock import lock
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.progress import track
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.data.datasets.windows import BACKGROUND
from visiontasks.predict.sliding import Detector
from visiontasks.predict.torch_network import find_device
from visiontasks.targets.sample import draw_sample, rows_of
from visiontasks.tasks.restore import restore_task


def average_precision(detector: Detector, dataset: VisionDataset) -> dict[str, float]:
    """Computes the average precision over images with `objects` as in COCO (torchmetrics, pycocotools).

    The detector needs a low threshold, because the precision-recall curve needs uncertain boxes too.

    Returns:
        `map` over IoU 0.5:0.95, `map_50`, `map_75`, and the `map` of each class by its name; NaN where no image has an
        object, which torchmetrics reports as -1.

    Raises:
        InputError: The dataset and the detector have different classes.
    """
    names = [name for name in detector.class_names if name != BACKGROUND]
    if dataset.class_names != names:
        raise InputError(f"class_names: the images have {dataset.class_names}, the model {names}. They must agree.")
    metric = MeanAveragePrecision(class_metrics=True)
    for index in track(range(len(dataset)), "Detecting"):
        objects = dataset.objects(index)
        found, true = detector.detect(dataset.image(index)), {key: objects[key] for key in ("boxes", "labels")}
        metric.update(*([{key: torch.from_numpy(value) for key, value in one.items()}] for one in (found, true)))
    result = metric.compute()
    by_class = dict(zip(result["classes"].view(-1).tolist(), result["map_per_class"].view(-1).tolist(), strict=True))
    figures = {key: float(result[key]) for key in ("map", "map_50", "map_75")}
    figures |= {names[label]: figure for label, figure in by_class.items()}
    return {name: figure if figure >= 0 else math.nan for name, figure in figures.items()}


def write_detections(
    folder: OutputFolder, found: Iterable[tuple[str, np.ndarray, dict[str, np.ndarray]]], names: list[str]
) -> int:
    """Writes `detections.csv`, one line per box, and `overlays/`; returns the number of boxes.

    `found` yields the name and pixels of each image and the result of `Detector.detect`.
    """
    folder.clear()
    rows: list[dict[str, Any]] = []
    spec, keys = {"class_names": names}, ("bbox", "label", "score")
    for index, (name, picture, objects) in enumerate(found):
        samples = [dict(zip(keys, one, strict=True)) for one in zip(*objects.values(), strict=True)]
        for sample in reversed(samples):  # the best box is drawn last, on top
            picture = draw_sample(picture, sample, spec)
        rows += [{"path": name, **row} for sample in samples for row in rows_of(sample, spec)]
        stem = Path(name).stem.encode("ascii", "replace").decode().replace("?", "_")
        with folder.write(f"overlays/{index:05d}_{stem}.png") as path:
            Image.fromarray(picture).save(path, "PNG")
    with folder.write("detections.csv") as path:
        write_csv(path, rows, ("path", "label", "score", "xmin", "ymin", "xmax", "ymax"))
    return len(rows)


def predict_objects(options: argparse.Namespace) -> None:
    """Runs `predict`, which needs no sliding window, with a model that was trained on whole images."""
    if options.scales or options.iou is not None:
        raise InputError(
            f"detect: {options.checkpoint} was trained on whole images, without windows. Leave out --scales and --iou."
        )
    args = [options.checkpoint, "-", "--output", str(options.output), "--device", options.device]
    args += [f"--imports={module}" for module in options.imports]
    args += [] if options.threshold is None else ["--threshold", str(options.threshold)]
    print(f"{options.checkpoint} was trained on whole images: this is `visiontasks predict --overlays`.")
    chosen, more = parse("predict", [*args, "--overlays"])
    chosen.source = options.source
    predict.main(chosen, more)


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Detects the objects and writes them."""
    task = restore_task(options.checkpoint, import_modules(options.imports)).to(find_device(options.device))
    if any(head.target.columns for head in task.heads.values()):
        predict_objects(options)
        return
    given = {name: getattr(options, name) for name in ("scales", "threshold", "iou")}
    detector = Detector(task, **{name: value for name, value in given.items() if value is not None})
    sources = options.source
    folder = OutputFolder(options.output, "detections.csv", "overlays/[0-9]*_*.png")
    shown = track(sources, "Detecting", sources.count())
    images = ((source.name, source.read(*reading(task.spec))) for source in shown)
    found = ((name, image, detector.detect(image)) for name, image in images)
    with lock(folder.path):
        count = write_detections(folder, found, detector.class_names)
    print(f"{count} objects in {sources.count()} images: {options.output / 'detections.csv'}")
