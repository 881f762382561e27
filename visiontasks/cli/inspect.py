"""The command `visiontasks inspect`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from visiontasks.core.draw import PREDICTED, draw, grid
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width
from visiontasks.core.sample import names_of
from visiontasks.inspect.attack import accuracy_under_attack, attack, draw_difference
from visiontasks.inspect.explain import draw_heat, explain
from visiontasks.inspect.features import draw_filters, draw_maps, features, filters, find_layer
from visiontasks.inspect.layers import layers
from visiontasks.inspect.maximize import maximize
from visiontasks.cli.opened import Opened, open_model
from visiontasks.models.heads.base import Head
from visiontasks.tasks import VisionTask

MANY = 16  # units of a layer, where none is named
WIDTH = 140  # of the table of layers in characters, where the terminal is narrower


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
        pictures.append(draw(image, {"label": 0}, [title], PREDICTED))
    opened.save(f"maximize-{options.layer or 'classes'}", grid(pictures))


def show_attack(opened: Opened, options: Any) -> None:
    """attack.png, each row an image, what is added, and the sum; attack.csv; the images; of a set, its accuracy."""
    task, rows, pictures = opened.task, [], []
    (opened.directory / "adversarial").mkdir(exist_ok=True)
    how = {"radius": options.radius, "method": options.method, "steps": options.steps}
    for batch in opened.batches(options.source, options.count):
        image = batch["image"]
        before = _answer(task, image)
        moved = attack(task, image, torch.tensor([before["label"]]), **how)
        after = _answer(task, moved)
        first, last = (part[0].permute(1, 2, 0).numpy() for part in (image, moved))
        pictures += [
            draw(first, before, task.spec["class_names"]),
            draw_difference(first, last, options.radius),
            draw(last, after, task.spec["class_names"]),
        ]
        Image.fromarray(last).save(opened.directory / "adversarial" / f"{len(rows):05d}_{batch['name']}.png")
        names = [task.spec["class_names"][answer["label"]] for answer in (before, after)]
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
        pictures += [draw(picture, _answer(task, image), task.spec["class_names"]), draw_heat(picture, weights)]
    opened.save(f"explain-{key}-{options.method}", grid(pictures, 2))


def _answer(task: VisionTask, image: Tensor) -> dict[str, Any]:
    """The prediction of one image as the network sees it, in its own pixels, ready to be drawn."""
    height, width = image.shape[-2:]
    with torch.no_grad():
        outputs = task(image)
    found = {
        name: value
        for key, head in task.heads.items()
        for name, value in cast(Head, head).predict(outputs[key]).items()
    }
    known = {key: found[key][0].item() for key in ("label", "score") if key in found}
    if "bbox" in found:
        known["bbox"] = found["bbox"][0].numpy() * [width, height, width, height]
    if "mask" in found:
        known["mask"] = found["mask"][0].numpy()
    return known


def _class(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise InputError(f"--class {name}: expected one of {', '.join(names)}.")
    return names.index(name)


def _units(task: Any, layer: str) -> int:
    size = height_width(task.spec["image_size"])
    return features(task, torch.zeros(1, 3, *size, dtype=torch.uint8), layer).shape[1]


def main(command: str, args: Sequence[str]) -> None:
    """Parses the arguments, opens the model and looks inside."""
    parser = argparse.ArgumentParser(
        prog=f"visiontasks {command}",
        description="Look inside a network.",
        epilog="Of a config all other arguments are those of fit, such as --ckpt_path CHECKPOINT.",
        allow_abbrev=False,
    )
    parts = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    def part(name: str, text: str, show: Any, images: bool = False) -> argparse.ArgumentParser:
        new = parts.add_parser(name, help=text, description=text, allow_abbrev=False)
        new.set_defaults(show=show, images=images)
        new.add_argument("model", type=Path, help="a checkpoint, or a config (.yaml)")
        if images:
            new.add_argument("source", nargs="*", help="images or folders (default: the validation set of the config)")
            new.add_argument("--count", type=int, default=8, help="so many of the validation set (default: 8)")
        return new

    part("layers", "Output, weights, multiplications, memory and receptive field of each layer.", show_layers)
    new = part("features", "The feature maps of a layer for each image.", show_features, images=True)
    new.add_argument("--layer", help="its name, or the end of it (default: the first convolution)")
    new = part("filters", "The filters of a convolution.", show_filters)
    new.add_argument("--layer", help="its name, or the end of it (default: the first convolution)")
    new = part("maximize", "The image that a class, or a unit of a layer, answers most.", show_maximize)
    new.add_argument("--class", dest="classes", action="append", default=[], help="a class (default: the first 16)")
    new.add_argument("--layer", help="a layer, in place of the classes")
    new.add_argument("--unit", type=int, action="append", help="a unit of it (default: the first 16)")
    new.add_argument("--softmax", action="store_true", help="of a class the probability, not the logit")
    new.add_argument("--steps", type=int, default=200, help="(default: 200)")
    new.add_argument("--rate", type=float, default=0.1, help="root mean square of a step (default: 0.1)")
    new.add_argument("--decay", type=float, default=0.01, help="share of the image lost in a step (default: 0.01)")
    new.add_argument("--blur", type=float, default=1.0, help="standard deviation in pixels (default: 1)")
    new.add_argument("--clip", type=float, default=0.1, help="share of small pixels set to zero (default: 0.1)")
    new.add_argument("--jitter", type=int, default=8, help="moves by at most so many pixels (default: 8)")
    new = part("attack", "Images changed a little, and no longer recognized.", show_attack, images=True)
    new.add_argument("--radius", type=int, default=8, help="levels of 255 that a value may move (default: 8)")
    new.add_argument("--method", choices=("fgsm", "pgd"), default="pgd", help="(default: pgd)")
    new.add_argument("--steps", type=int, default=10, help="of pgd (default: 10)")
    new = part("explain", "Where in the image an answer comes from.", show_explain, images=True)
    new.add_argument("--method", choices=("gradcam", "occlusion"), default="gradcam", help="(default: gradcam)")
    new.add_argument("--key", choices=("label", "bbox", "mask"), help="which answer (default: the first)")
    new.add_argument("--class", dest="classes", action="append", default=[], help="a class (default: the predicted)")
    new.add_argument("--window", type=int, help="side of the occluding window in pixels")

    options, more = parser.parse_known_args(args)
    opened = open_model(options.model, more, options.images and not options.source)
    options.show(opened, options)
    print(f"written to {opened.directory}")
