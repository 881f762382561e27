"""CPU seconds until a large set is known: its dataset, spec, targets and fingerprint, as at the start of a fit.

    python benchmarks/datasets.py

Each case writes small images and annotations to a temporary folder and reads them in this process:

- `table`: `CsvTable` with 100,000 rows, one image each.
- `coco`: `CocoBoxes` with 100,000 annotations of 10,000 images.
- `copies`: the search for the same image in train and val, among 2,000 files of one length, 200 kB each.

Bar: 2 CPU seconds each.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from visiontasks.data import CocoBoxes, CsvTable, ImageFolder, VisionDataModule, VisionDataset
from visiontasks.data.datasets.copies import same_files

WIDTH, HEIGHT = 64, 48


def write_images(folder: Path, count: int, length: int = 0) -> list[str]:
    """Writes images that differ in the last bytes, which decoders ignore; returns their names.

    Most of a file is a hole. Lengths are like those of photos, around 60 kB, if no length is given.
    """
    buffer = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(buffer, "JPEG")
    folder.mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(count)]
    lengths = np.random.default_rng(0).lognormal(11, 0.4, count).astype(int) + len(buffer.getvalue())
    for name, own in zip(names, lengths.tolist(), strict=True):
        with (folder / name).open("wb") as file:
            file.write(buffer.getvalue())
            file.seek(length or own)
            file.write(f"{folder} {name}".encode())
    return names


def table(root: Path, count: int) -> Callable[[str], VisionDataset]:
    """A table with one image per row."""
    names = write_images(root / "images", count)
    lines = ["path,label", *(f"images/{name},{'abcdefghij'[number % 10]}" for number, name in enumerate(names))]
    (root / "table.csv").write_text("\n".join(lines))
    return partial(CsvTable, path=str(root / "table.csv"))


def coco(root: Path, count: int) -> Callable[[str], VisionDataset]:
    """A COCO file with ten annotations per image."""
    names = write_images(root / "images", count // 10)
    images = [{"id": i, "file_name": n, "width": WIDTH, "height": HEIGHT} for i, n in enumerate(names)]
    boxes = [{"id": i, "image_id": i // 10, "category_id": i % 7, "bbox": [i % 20, 3, 30, 20]} for i in range(count)]
    categories = [{"id": number, "name": f"class {number}"} for number in range(7)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (root / "boxes.json").write_text(json.dumps(content))
    return partial(CocoBoxes, annotations=str(root / "boxes.json"), images=str(root / "images"))


def copies(root: Path, count: int) -> Callable[[str], VisionDataset]:
    """Files of one length in class folders of train and val."""
    for part in ("train/a", "train/b", "val/a", "val/b"):
        write_images(root / part, count // 4, 200_000)
    return partial(ImageFolder, root=str(root))


def known_files(dataset: Callable[[str], VisionDataset]) -> Any:
    """The same image in train and val."""
    train, val = dataset("train"), dataset("val")
    return same_files([*train.files(), *val.files()])


def known(dataset: Callable[[str], VisionDataset]) -> Any:
    """Everything that a fit asks the training set for before it reads an image."""
    data = VisionDataModule(dataset)
    return data.spec, data.keys, data.fingerprint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="share of the size of each set (default: 1)")
    share = parser.parse_args().share
    shown = Table("case", "images or annotations", "CPU seconds", "seconds")
    for make, count, ask in ((table, 100_000, known), (coco, 100_000, known), (copies, 2_000, known_files)):
        with TemporaryDirectory() as folder:
            dataset = make(Path(folder), int(count * share))
            cpu, wall = time.process_time(), time.perf_counter()
            ask(dataset)
            figures = (f"{time.process_time() - cpu:.2f}", f"{time.perf_counter() - wall:.2f}")
            shown.add_row(make.__name__, f"{int(count * share):,}", *figures)
    Console().print(shown)


if __name__ == "__main__":
    main()
