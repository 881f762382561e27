"""The command `visiontasks init`, which looks at a folder and writes a config that trains on it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks import data
from visiontasks.cli.chatter import said_once
from visiontasks.cli.estimate import estimate
from visiontasks.cli.recipe import Facts, write_recipe
from visiontasks.core.errors import InputError
from visiontasks.core.files import write_text
from visiontasks.core.folders import walk, with_suffix
from visiontasks.core.images import EXTENSIONS
from visiontasks.core.live import hide_loading
from visiontasks.core.progress import duration
from visiontasks.data import VisionDataModule
from visiontasks.data.layouts import Layout, find_layouts
from visiontasks.data.splits import SPLITS, MissingSplit
from visiontasks.targets import find_target

LEAST = 0.4  # share of the images in a folder that a set has at least; masks are images too
SAMPLED = 200  # images whose sizes are read
READ = {
    "class folders": "train/CLASS/PHOTO.jpg or CLASS/PHOTO.jpg",
    "a table": "a CSV file with the paths of the images",
    "boxes": "Pascal VOC, CVAT, COCO, LabelMe, VIA, CreateML, YOLO with its data.yaml",
    "masks": "two folders with the same names, or names such as PHOTO_mask.png",
}


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Recognizes the layout of a folder, writes a config and prints what was found."""
    folder: Path = options.folder
    output: Path = options.output
    found = find_layouts(folder, options.layout)
    chosen = choose(found, options.layout, folder)
    hide_loading()
    with said_once():
        tried, layout, facts, counts = first_that_opens(chosen)
    for other in (key for key in found if key not in tried):
        print(f"Also possible: {found[other].found}. Use it with --layout {other}.")
    if (used := sum(counts.values())) < LEAST * (total := len(with_suffix(walk(folder, checked=False), EXTENSIONS))):
        print(f"Note: only {used:,} of {total:,} images are used. If the folder holds several sets, give one of them.")
    for note in layout.notes:
        print(f"Note: {note}.")
    write_text(output, write_recipe(layout, facts, str(output)))
    print(f"Images: {', '.join(f'{count:,} in {split}' for split, count in counts.items())}.")
    print(f"Wrote {output}. Next: visiontasks fit -c {output}")
    if options.estimate:
        try:
            seconds, memory = estimate(output, counts)
        except Exception:
            print(f"{output} is written, but the first steps of its fit failed:", file=sys.stderr)
            raise
        space = f", and {memory / 1e9:.1f} GB of memory" if memory == memory else ""
        print(f"It will take about {duration(seconds)} on this machine{space}.")


def choose(found: dict[str, Layout], wanted: str | None, folder: Path) -> dict[str, Layout]:
    """Returns the wanted layout, or all, the best first; raises an InputError if there is none."""
    if wanted and wanted not in found:
        advice = f"There are: {', '.join(found)}." if found else "No other was recognized either."
        raise InputError(f"{folder}: the layout {wanted!r} was not recognized. {advice}")
    if not found:
        known = "; ".join(f"{what}: {how}" for what, how in READ.items())
        advice = "Sort the images into a folder per class, or add a table, boxes or masks"
        raise InputError(f"{folder}: no labels of the images were recognized. {advice}. Known are {known}.")
    return {wanted: found[wanted]} if wanted else found


def first_that_opens(layouts: dict[str, Layout]) -> tuple[list[str], Layout, Facts, dict[str, int]]:
    """Returns the names of the layouts that were tried, and what `check` returns for the last of them.

    Raises:
        InputError: The data of a layout that is certain, or of all, cannot be opened.
    """
    for place, layout in enumerate(layouts.values(), 1):
        print(f"Found: {layout.found} ({layout.certainty}).")
        try:
            return [*layouts][:place], *check(layout)
        except InputError as error:
            if layout.certainty == "certain" or place == len(layouts):
                raise
            print(f"It is not used, because its data cannot be opened: {error}")
    raise InputError("no layout to open.")


def check(layout: Layout) -> tuple[Layout, Facts, dict[str, int]]:
    """Opens the data of a layout; boxes that are outside their images are clipped.

    Returns:
        The layout with the options that it needs, what is known of its training images, and the images per split.
    """
    try:
        return layout, *_opened(layout)
    except InputError as error:
        if "boxes: clip" not in str(error):
            raise
        note = "some boxes are not inside their images and are clipped"
        clipped = replace(layout, options=layout.options | {"boxes": "clip"}, notes=[*layout.notes, note])
        return clipped, *_opened(clipped)


def _opened(layout: Layout) -> tuple[Facts, dict[str, int]]:
    module = VisionDataModule(partial(getattr(data, layout.dataset), **layout.options), augment="none")
    counts: dict[str, int] = {}
    for split in SPLITS:
        try:
            counts[split] = len(module.dataset(split))
        except MissingSplit:
            if split != "test":
                raise
    train, kind = module.dataset("train"), find_target(layout.kind)
    names = train.names(layout.kind)
    summary: dict[str, Any] = {} if kind.dense else module.summary(layout.kind)
    places = np.linspace(0, len(train) - 1, min(SAMPLED, len(train))).astype(int)
    sizes = np.array([train.size(place) for place in places.tolist()])
    boxes = summary.get("boxes", np.empty((0, 5)))
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return Facts(len(train), sizes, names, summary.get("counts", np.empty(0)), sides), counts
