"""The command `visiontasks inspect`."""

import argparse
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from visiontasks.cli.imports import import_modules
from visiontasks.cli.opening import open_data, open_task
from visiontasks.core.draw import grid, titled
from visiontasks.core.errors import InputError
from visiontasks.core.files import write_csv
from visiontasks.core.geometry import Frame, height_width
from visiontasks.core.images import reading
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.progress import track
from visiontasks.core.resize import to_picture
from visiontasks.core.sample import Sample
from visiontasks.data import VisionDataModule
from visiontasks.inspect.attack import accuracy_under_attack, attack, check_label, draw_difference
from visiontasks.inspect.explain import choose_object, draw_heat, explain
from visiontasks.inspect.features import draw_filters, draw_maps, features, filters, find_layer
from visiontasks.inspect.layers import layers
from visiontasks.inspect.maximize import maximize
from visiontasks.targets import names_of
from visiontasks.targets.sample import draw_sample, predict_sample
from visiontasks.tasks import VisionTask
from visiontasks.tasks.restore import restore_task

MANY = 16  # units of a layer, if none is named
WIDTH = 140  # least width of the table of layers in characters


class Opened(NamedTuple):
    """A model, the data of its config if that was read, and the folder for pictures."""

    task: VisionTask
    data: VisionDataModule | None
    folder: OutputFolder

    def images(self, options: Any) -> Iterable[tuple[str, Tensor]]:
        """Yields name and pixels, uint8 (1, 3, H, W), of each given image, or else the first of the validation set."""
        if options.source:
            for source in options.source:
                pixels = source.read(*reading(self.task.spec))
                image = torch.from_numpy(to_picture(pixels, self.task.spec)).permute(2, 0, 1)
                yield Path(source.name).stem, image[None]
            return
        assert self.data is not None
        dataset, loader = self.data.dataset("val"), self.data.loader("val")
        pairs = (pair for batch in loader for pair in zip(batch["image"], batch["index"].tolist(), strict=True))
        for image, index in islice(pairs, options.count):
            yield Path(dataset.name(index)).stem, image[None]

    def save(self, name: str, picture: np.ndarray) -> None:
        with self.folder.write(f"{name.replace(' ', '_')}.png") as path:
            Image.fromarray(picture).save(path, "PNG")

    def save_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        with self.folder.write(f"{name}.csv") as path:
            write_csv(path, rows)


def show_layers(opened: Opened, options: Any) -> None:
    """Writes layers.csv and prints it as a table."""
    task = opened.task
    found = layers(task, _blank(task))
    names, rows = ("layer", "kind", "output", "weights", "multiplications", "memory", "field"), []
    for name, kind, output, *costs, field in found:
        values = (name, kind, " x ".join(map(str, output)), *costs, " x ".join(f"{side:g}" for side in field))
        rows.append(dict(zip(names, values, strict=True)))
    opened.save_rows("layers", rows)
    table = Table()
    for name in names:
        table.add_column(name, justify="left" if name in ("layer", "kind") else "right", no_wrap=True)
    totals = {name: sum(row[name] for row in rows) for name in ("weights", "multiplications", "memory")}
    for row in [*rows, {"layer": "all", **totals}]:
        cells = [row.get(name, "") for name in names]
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells))
    Console(width=max(Console().width, WIDTH)).print(table)


def show_features(opened: Opened, options: Any) -> None:
    """Draws the units of a layer side by side, in one picture per image."""
    layer, _ = find_layer(opened.task, options.layer)
    for name, image in opened.images(options):
        maps = features(opened.task, image, layer)
        if maps.ndim != 4:
            raise InputError(f"--layer {layer}: its output of shape {tuple(maps.shape[1:])} is not a map.")
        opened.save(f"features-{layer}-{name}", draw_maps(maps[0]))


def show_filters(opened: Opened, options: Any) -> None:
    """Draws the filters of a layer in one picture."""
    layer, _ = find_layer(opened.task, options.layer)
    opened.save(f"filters-{layer}", draw_filters(filters(opened.task, layer)))


def show_maximize(opened: Opened, options: Any) -> None:
    """Draws the image that maximizes each class, or each unit of a layer, in one picture."""
    task, classes = opened.task, opened.task.spec["class_names"]
    if options.layer:
        units = options.unit or range(min(MANY, features(task, _blank(task), options.layer).shape[1]))
        titles = {unit: str(unit) for unit in units}
    else:
        chosen = [_class(name, classes) for name in options.classes] or range(min(MANY, len(classes)))
        titles = {unit: classes[unit] for unit in chosen}
    names = ("steps", "rate", "decay", "blur", "clip", "jitter", "softmax")
    settings = {name: getattr(options, name) for name in names}
    pictures = []
    for unit, title in track(list(titles.items()), "Climbing"):
        image = maximize(task, unit, options.layer, **settings).permute(1, 2, 0).numpy()
        pictures.append(titled(image, title))
    opened.save(f"maximize-{options.layer or 'classes'}", grid(pictures))


def show_attack(opened: Opened, options: Any) -> None:
    """Writes attack.png with rows of image, change and sum, attack.csv, and the images; prints a set's accuracy."""
    task, rows, pictures = opened.task, [], []
    check_label(task, "attack")
    how = {"radius": options.radius, "method": options.method, "steps": options.steps}
    for name, image in opened.images(options):
        before = _predict(task, image)
        moved = attack(task, image, torch.tensor([before["label"]]), **how)
        after = _predict(task, moved)
        first, last = (part[0].permute(1, 2, 0).numpy() for part in (image, moved))
        pictures += [draw_sample(first, before, task.spec), draw_difference(first, last, options.radius)]
        pictures.append(draw_sample(last, after, task.spec))
        opened.save(f"adversarial/{len(rows):05d}_{name}", last)
        row = {"image": name, "before": before["class_name"], "score_before": before["score"]}
        rows.append(row | {"after": after["class_name"], "score_after": after["score"]})
    opened.save("attack", grid(pictures, 3))
    opened.save_rows("attack", rows)
    print(f"{sum(row['before'] != row['after'] for row in rows)} of {len(rows)} predictions changed")
    if opened.data is not None and not options.source:
        loader = opened.data.loader("val")
        result = accuracy_under_attack(task, track(loader, "Attacking"), **how)
        print(f"{result.images} images: accuracy {result.accuracy:.3f}, under attack {result.under_attack:.3f}")


def show_explain(opened: Opened, options: Any) -> None:
    """Writes explain-KEY-METHOD.png, a row per image: its prediction, and the pixels that it depends on."""
    task, spec, pictures = opened.task, opened.task.spec, []
    key = options.key or next(iter(task.heads))
    target = _class(options.classes[0], names_of(spec, key)) if options.classes else None
    for name, image in opened.images(options):
        how = (options.key, target, options.method, options.window, options.object - 1)
        weights = explain(task, image, *how).cpu().numpy()
        picture, sample = image[0].permute(1, 2, 0).numpy(), _predict(task, image)
        pictures.append(draw_sample(picture, sample, spec))
        heat = draw_heat(picture, weights) if weights.any() else picture
        if task.heads[key].target.columns:
            chosen = choose_object(sample[key], target, options.object - 1)
            heat = draw_sample(heat, {key: {**chosen, "taken": np.ones(len(chosen["labels"]), bool)}}, spec)
        pictures.append(heat)
        if not weights.any():
            of = options.classes[0] if options.classes else "the prediction"
            print(f"{name}: no place of the image supports {of}; it is drawn without colors.")
    opened.save(f"explain-{key}-{options.method}", grid(pictures, 2))


def _predict(task: VisionTask, image: Tensor) -> Sample:
    """Predicts an image as the network sees it, in pixels of this image."""
    height, width = image.shape[-2:]
    with torch.no_grad():
        outputs = {key: output[0].float().numpy() for key, output in task.postprocess(image).items()}
    return predict_sample(outputs, Frame(height, width, (height, width)), task.spec)


def _class(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise InputError(f"--class {name}: expected one of {', '.join(names)}.")
    return names.index(name)


def _blank(task: VisionTask) -> Tensor:
    return torch.zeros(1, 3, *height_width(task.spec["image_size"]), dtype=torch.uint8)


def open_model(options: argparse.Namespace, more: Sequence[str]) -> Opened:
    """Opens a checkpoint, or the model of a config, with the data if it is needed."""
    is_config = options.model.suffix in (".yaml", ".yml")
    names = [f"{options.what}*.png", f"{options.what}.csv", *["adversarial/*"] * (options.what == "attack")]
    trust, checkpoint = import_modules(options.imports), options.ckpt_path if is_config else options.model
    if checkpoint is None:
        task, data, directory = open_task(options.model, more)
        return Opened(task.eval(), data, OutputFolder(directory, *names))
    data, task = None, restore_task(str(checkpoint), trust)
    if options.images and not options.source:
        config = options.model if is_config else checkpoint.parent / "config.yaml"
        if not config.is_file():
            more = f"give a config instead of the checkpoint and `--ckpt_path {checkpoint}`."
            raise InputError(f"{config}: no such config for the images. Name some images, or {more}")
        data = open_data(config, more, not is_config, trust)
    elif more:
        raise InputError(f"inspect: unrecognized arguments: {' '.join(more)}. They can only change a config.")
    return Opened(task, data, OutputFolder(checkpoint.parent / "inspect", *names))


SHOW = {
    "layers": show_layers,
    "features": show_features,
    "filters": show_filters,
    "maximize": show_maximize,
    "attack": show_attack,
    "explain": show_explain,
}


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Opens the model and writes the pictures."""
    opened = open_model(options, more)
    SHOW[options.what](opened, options)
    print(f"written to {opened.folder.path}")
