"""The command `visiontasks inspect`."""

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from visiontasks.cli.imports import import_modules
from visiontasks.cli.opening import open_data, open_task
from visiontasks.core.draw import grid, titled
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame, height_width
from visiontasks.core.resize import to_picture
from visiontasks.core.sample import Sample
from visiontasks.data import VisionDataModule
from visiontasks.inspect.attack import accuracy_under_attack, attack, draw_difference
from visiontasks.inspect.explain import draw_heat, explain
from visiontasks.inspect.features import draw_filters, draw_maps, features, filters, find_layer
from visiontasks.inspect.layers import layers
from visiontasks.inspect.maximize import maximize
from visiontasks.predict.sources import find_sources
from visiontasks.targets import names_of
from visiontasks.targets.sample import draw_sample, predict_sample
from visiontasks.tasks import VisionTask
from visiontasks.tasks.restore import restore_task

MANY = 16  # units of a layer, where none is named
WIDTH = 140  # of the table of layers in characters, where the terminal is narrower


class Opened(NamedTuple):
    """A model, the data of its config if that was read, and where pictures go."""

    task: VisionTask
    data: VisionDataModule | None
    directory: Path

    def batches(self, sources: Sequence[str], count: int) -> Iterable[dict[str, Any]]:
        """Of the images of these files and folders, or else the first `count` of the validation set, one at a time."""
        if sources:
            for source in find_sources(sources):
                picture = to_picture(source.read(), self.task.spec)
                image = torch.from_numpy(picture).permute(2, 0, 1)[None]
                yield {"image": image, "name": Path(source.name).stem}
            return
        assert self.data is not None
        dataset, left = self.data.dataset("val"), count
        for batch in self.data.loader("val"):
            for image, index in zip(batch["image"], batch["index"].tolist(), strict=True):
                if not left:
                    return
                left -= 1
                yield {"image": image[None], "name": Path(dataset.name(index)).stem}

    def save(self, name: str, picture: np.ndarray) -> None:
        Image.fromarray(picture).save(self.directory / f"{name.replace('/', '_').replace(' ', '_')}.png")

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        with (self.directory / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def show_layers(opened: Opened, options: Any) -> None:
    """layers.csv, and the same as a table."""
    task = opened.task
    found = layers(task, torch.zeros(1, 3, *height_width(task.spec["image_size"]), dtype=torch.uint8))
    rows: list[dict[str, Any]] = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "output": " x ".join(map(str, layer.output)),
            "weights": layer.weights,
            "multiplications": layer.multiplications,
            "memory": layer.memory,
            "field": " x ".join(f"{side:g}" for side in layer.field),
        }
        for layer in found
    ]
    opened.table("layers", rows)
    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="left" if name in ("layer", "kind") else "right", no_wrap=True)
    totals = {name: sum(row[name] for row in rows) for name in ("weights", "multiplications", "memory")}
    for row in [*rows, {"layer": "all", **totals}]:
        cells = [row.get(name, "") for name in rows[0]]
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells))
    Console(width=max(Console().width, WIDTH)).print(table)


def show_features(opened: Opened, options: Any) -> None:
    """A picture for each image: the layer's units side by side."""
    task = opened.task
    layer, _ = find_layer(task, options.layer)
    for batch in opened.batches(options.source, options.count):
        maps = features(task, batch["image"], layer)
        if maps.ndim != 4:
            raise InputError(f"--layer {layer}: what comes out has the shape {tuple(maps.shape[1:])}, and is no map.")
        opened.save(f"features-{layer}-{batch['name']}", draw_maps(maps[0]))


def show_filters(opened: Opened, options: Any) -> None:
    """One picture: the layer's filters."""
    task = opened.task
    layer, _ = find_layer(task, options.layer)
    opened.save(f"filters-{layer}", draw_filters(filters(task, layer)))


def show_maximize(opened: Opened, options: Any) -> None:
    """One picture: for each class, or each unit of a layer, the image that it answers most."""
    task, classes = opened.task, opened.task.spec["class_names"]
    if options.layer:
        units = options.unit or range(min(MANY, _units(task, options.layer)))
        titles = {unit: f"{unit}" for unit in units}
    else:
        chosen = [_class(name, classes) for name in options.classes] or range(min(MANY, len(classes)))
        titles = {unit: classes[unit] for unit in chosen}
    settings = {
        name: getattr(options, name) for name in ("steps", "rate", "decay", "blur", "clip", "jitter", "softmax")
    }
    pictures = []
    for unit, title in track(list(titles.items()), "Climbing", transient=True):
        image = maximize(task, unit, options.layer, **settings).permute(1, 2, 0).numpy()
        pictures.append(titled(image, title))
    opened.save(f"maximize-{options.layer or 'classes'}", grid(pictures))


def show_attack(opened: Opened, options: Any) -> None:
    """attack.png, each row an image, what is added, and the sum; attack.csv; the images; of a set, its accuracy."""
    task, rows, pictures = opened.task, [], []
    (opened.directory / "adversarial").mkdir(exist_ok=True)
    how = {"radius": options.radius, "method": options.method, "steps": options.steps}
    for batch in opened.batches(options.source, options.count):
        image = batch["image"]
        before = _predict(task, image)
        moved = attack(task, image, torch.tensor([before["label"]]), **how)
        after = _predict(task, moved)
        first, last = (part[0].permute(1, 2, 0).numpy() for part in (image, moved))
        pictures += [
            draw_sample(first, before, task.spec),
            draw_difference(first, last, options.radius),
            draw_sample(last, after, task.spec),
        ]
        Image.fromarray(last).save(opened.directory / "adversarial" / f"{len(rows):05d}_{batch['name']}.png")
        names = [answer["class_name"] for answer in (before, after)]
        rows.append(
            {"image": batch["name"], "before": names[0], "score_before": before["score"]}
            | {"after": names[1], "score_after": after["score"]}
        )
    opened.save("attack", grid(pictures, 3))
    opened.table("attack", rows)
    print(f"{sum(row['before'] != row['after'] for row in rows)} of {len(rows)} predictions changed")
    if opened.data is not None and not options.source:
        loader = opened.data.loader("val")
        result = accuracy_under_attack(task, track(loader, "Attacking", transient=True), **how)
        print(f"{result.images} images: accuracy {result.accuracy:.3f}, under attack {result.under_attack:.3f}")


def show_explain(opened: Opened, options: Any) -> None:
    """explain.png, each row an image with its prediction, and where that comes from."""
    task, spec, pictures = opened.task, opened.task.spec, []
    key = options.key or next(iter(task.heads))
    target = _class(options.classes[0], names_of(spec, key)) if options.classes else None
    for batch in opened.batches(options.source, options.count):
        image = batch["image"]
        weights = explain(task, image, options.key, target, options.method, options.window).cpu().numpy()
        picture = image[0].permute(1, 2, 0).numpy()
        pictures += [draw_sample(picture, _predict(task, image), spec), draw_heat(picture, weights)]
    opened.save(f"explain-{key}-{options.method}", grid(pictures, 2))


def _predict(task: VisionTask, image: Tensor) -> Sample:
    """Predicts one image as the network sees it, in its own pixels."""
    height, width = image.shape[-2:]
    with torch.no_grad():
        outputs = {key: output[0].float().numpy() for key, output in task.postprocess(image).items()}
    return predict_sample(outputs, Frame(height, width, (height, width)), task.spec)


def _class(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise InputError(f"--class {name}: expected one of {', '.join(names)}.")
    return names.index(name)


def _units(task: Any, layer: str) -> int:
    size = height_width(task.spec["image_size"])
    return features(task, torch.zeros(1, 3, *size, dtype=torch.uint8), layer).shape[1]


def open_model(options: argparse.Namespace, more: Sequence[str]) -> Opened:
    """Opens a checkpoint, or the model of a config, with the images if they are needed.

    Raises:
        InputError: A file or an argument cannot be used so.
    """
    is_config = options.model.suffix in (".yaml", ".yml")
    trust, checkpoint = import_modules(options.imports), options.ckpt_path if is_config else options.model
    if checkpoint is None:
        task, data, directory = open_task(options.model, more)
        return Opened(task.eval(), data, directory)
    data, task = None, restore_task(str(checkpoint), trust)
    if options.images and not options.source:
        config = options.model if is_config else checkpoint.parent / "config.yaml"
        if not config.is_file():
            raise InputError(
                f"{config}: no such file, which would tell the images. Name some, or give a config in place of the "
                f"checkpoint and `--ckpt_path {checkpoint}`."
            )
        data = open_data(config, more, not is_config, trust)
    elif more:
        raise InputError(f"inspect: unrecognized arguments: {' '.join(more)}. Only a config can be changed so.")
    directory = checkpoint.parent / "inspect"
    directory.mkdir(exist_ok=True)
    return Opened(task, data, directory)


SHOW = [show_layers, show_features, show_filters, show_maximize, show_attack, show_explain]


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Opens the model and looks inside."""
    opened = open_model(options, more)
    next(show for show in SHOW if show.__name__ == f"show_{options.what}")(opened, options)
    print(f"written to {opened.directory}")
