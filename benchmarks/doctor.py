"""Recall and precision of `visiontasks doctor` on faults that are planted in copies of real sets, and its CPU time.

Each image gets at most one fault. Precision counts every image that a check names; the sets have real faults, too, so
it can be below 1 without a false alarm.

    uv run python benchmarks/doctor.py
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from PIL import Image

from visiontasks.core.images import read_image
from visiontasks.data import ImageFolder, MaskFolder, VisionDataModule, VocBoxes
from visiontasks.doctor import Diagnosis, diagnose

Planted = dict[str, set[str]]  # by check, the names of the images
CAMVID = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]


def save(pixels: np.ndarray, path: Path, **options: object) -> None:
    Image.fromarray(pixels).save(path, **options)


def bright(pixels: np.ndarray, factor: float) -> np.ndarray:
    return (pixels * factor).clip(0, 255).astype(np.uint8)


def turned(pixels: np.ndarray, path: Path) -> None:
    """Stores an image lying on its side, with the tag of EXIF that turns it upright."""
    exif = Image.Exif()
    exif[274] = 6
    save(np.ascontiguousarray(np.rot90(pixels)), path, exif=exif, quality=90)


CHANGES: dict[str, Callable[[np.ndarray, Path], None]] = {
    "half": lambda p, f: save(cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), f, quality=90),
    "double": lambda p, f: save(cv2.resize(p, None, fx=2, fy=2), f, quality=90),
    "q30": lambda p, f: save(p, f, quality=30),
    "mirror": lambda p, f: save(np.ascontiguousarray(p[:, ::-1]), f, quality=85),
    "brighter": lambda p, f: save(bright(p, 1.3), f, quality=85),
    "darker": lambda p, f: save(bright(p, 0.6), f, quality=85),
    "turned": turned,
    "gray": lambda p, f: save(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), f, quality=85),
}


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])


def striped(path: Path) -> None:
    pixels = read_image(path)[:40]
    save(np.ascontiguousarray(pixels), path, quality=90)


def flat(path: Path) -> None:
    save(np.full_like(read_image(path), 90), path, quality=90)


STORED: dict[str, list[Callable[[Path], object]]] = {
    "unreadable": [cut, cut, cut, lambda f: f.write_bytes(b""), lambda f: f.write_bytes(b"no image")],
    "suffix": [lambda f: save(read_image(f), f, format="PNG"), lambda f: save(read_image(f), f, format="WEBP")],
    "cmyk": [lambda f: Image.open(f).convert("CMYK").save(f, quality=90)],
    "exif_turn": [lambda f: turned(read_image(f), f)],
    "blank": [flat],
    "extreme_aspect": [striped],
}


def plant_flowers(root: Path, rng: np.random.Generator) -> Planted:
    """Copies within and across splits, files that are stored in an odd way, and a rare and a missing class."""
    train, val = sorted((root / "train").rglob("*.jpg")), sorted((root / "val").rglob("*.jpg"))
    for path in [p for p in train if p.parent.name == "tulips"][9:] + [p for p in val if p.parent.name == "roses"]:
        path.unlink()
    train = [p for p in train if p.exists()]
    left = iter(rng.permutation(len(train)).tolist())
    planted: Planted = {}

    def add(check: str, path: Path) -> None:
        planted.setdefault(check, set()).add(path.relative_to(root).as_posix())

    def kept(left: Iterator[int]) -> Path:
        return next(path for place in left if (path := train[place]).parent.name not in ("roses", "tulips"))

    for check, ways in STORED.items():
        for number in range(15):
            ways[number % len(ways)](path := train[next(left)])
            add(check, path)
    for number, (name, change) in enumerate(list(CHANGES.items()) * 6):
        source = kept(left)
        copy = root / "val" / source.parent.name / f"new_{name}_{number}.jpg"
        change(read_image(source), copy)
        add(f"leaked_near_duplicates/{name}", copy)
        if name == "turned":
            add("exif_turn", copy)
    for number in range(15):
        source = kept(left)
        copies = {"leaked_duplicates": root / "val" / source.parent.name, "duplicates": source.parent}
        for check, folder in list(copies.items())[number % 2 :][:1]:
            add(check, Path(shutil.copy(source, folder / f"copy{number}.jpg")))
    others = {"daisy": "dandelion", "dandelion": "sunflowers", "sunflowers": "roses"}
    for number in range(10):
        source = kept(left)
        add("contradictions", Path(shutil.copy(source, root / "train" / others[source.parent.name] / f"c{number}.jpg")))
    planted["rare_classes"], planted["missing_classes"] = {"tulips"}, {"roses"}
    return planted


BOXES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "boxes_outside/beyond": lambda b, w, h: np.array([b[0], b[1], w + 40, b[3]]),
    "boxes_outside/inverted": lambda b, w, h: b[[2, 3, 0, 1]],
    "tiny_boxes": lambda b, w, h: np.array([b[0], b[1], b[0] + 3, b[1] + 3]),
    "whole_boxes": lambda b, w, h: np.array([0, 0, w, h]),
    "double_boxes/exact": lambda b, w, h: b,
    "double_boxes/near": lambda b, w, h: b + np.array([0, 0, -2, -2]),
}


def plant_raccoon(root: Path, rng: np.random.Generator) -> Planted:
    """Boxes outside, inverted, tiny, as large as the image, and double; and files that are no images."""
    planted: Planted = {}
    files = sorted((root / "annotations").glob("*.xml"))
    left = iter(rng.permutation(len(files)).tolist())
    for check, change in BOXES.items():
        for _ in range(12):
            tree = ElementTree.parse(path := files[next(left)])
            node = tree.find("object")
            box = np.array([int(node.findtext(f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")])
            new = change(box, int(tree.findtext("size/width")), int(tree.findtext("size/height")))
            if check.startswith("double"):
                node = ElementTree.fromstring(ElementTree.tostring(node))
                tree.getroot().append(node)
            for name, value in zip(("xmin", "ymin", "xmax", "ymax"), new, strict=True):
                node.find(f"bndbox/{name}").text = str(value)
            tree.write(path)
            planted.setdefault(check, set()).add(f"{path.stem}.jpg")
    for number in range(10):
        path = root / "images" / f"{files[next(left)].stem}.jpg"
        STORED["unreadable"][number % 5](path)
        planted.setdefault("unreadable", set()).add(path.name)
    return planted


def swap(mask: np.ndarray) -> np.ndarray:
    """Exchanges the two most frequent classes."""
    first, second = np.argsort(-np.bincount(mask.ravel(), minlength=12)[:11])[:2]
    return np.where(mask == first, second, np.where(mask == second, first, mask)).astype(np.uint8)


MASKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "empty_masks": np.zeros_like,
    "ignored_masks": lambda m: np.full_like(m, 11),
    "whole_masks": lambda m: np.full_like(m, 3),
    "mask_values": lambda m: np.where(m == 3, 77, m).astype(np.uint8),
    "mask_size": lambda m: np.ascontiguousarray(m.T),
    "swapped_masks": swap,
}


def plant_camvid(root: Path, rng: np.random.Generator) -> Planted:
    """Masks that are empty, of one value, of unknown values, of another size, or with two classes exchanged."""
    planted: Planted = {}
    files = sorted((root / "trainannot").glob("*.png"))
    left = iter(rng.permutation(len(files)).tolist())
    for check, change in MASKS.items():
        for _ in range(15):
            path = files[next(left)]
            save(change(np.asarray(Image.open(path))), path)
            planted.setdefault(check, set()).add(f"train/{path.stem}.jpg")
    return planted


def flagged(found: Diagnosis, check: str) -> dict[str, str]:
    """Returns what a check names, images or the classes in its message, with its notes, which name the other copy."""
    findings = [one for one in found.findings if one.check == check]
    if check.endswith("_classes"):
        return {word: "" for one in findings for word in one.message.replace(":", " ").replace(".", " ").split()}
    return {Path(place.name).stem: place.note for one in findings for place in one.places}


def compare(name: str, found: Diagnosis, planted: Planted) -> Iterator[tuple[str, str, str, str, str]]:
    """Yields set, kind of fault, number of planted ones, recall and precision."""
    every: Planted = {}
    for kind, names in planted.items():
        every.setdefault(kind.partition("/")[0], set()).update(Path(one).stem for one in names)
    for kind, names in planted.items():
        check = kind.partition("/")[0]
        named, wanted = flagged(found, check), {Path(one).stem for one in names}  # images or their annotations
        recall = len(wanted & named.keys()) / len(wanted)
        right = [stem for stem, note in named.items() if any(one in stem + note for one in every[check])]
        precision = len(right) / max(1, len(named))
        yield name, kind, str(len(wanted)), f"{recall:.2f}", "" if check.endswith("_classes") else f"{precision:.2f}"


SETS: dict[str, tuple[Callable, Callable]] = {
    "flowers5": (plant_flowers, lambda root: partial(ImageFolder, root=str(root))),
    "raccoon": (plant_raccoon, lambda root: partial(VocBoxes, root=str(root), objects="all")),
    "camvid": (
        plant_camvid,
        lambda root: partial(
            MaskFolder, root=str(root), images="{split}", masks="{split}annot", class_names=CAMVID, ignore=[11]
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{'set':10}{'fault':34}{'planted':>8}{'recall':>8}{'precision':>11}")
    for name, (plant, dataset) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(options.root / name, root := Path(folder, name))
            planted = plant(root, np.random.default_rng(options.seed))
            start = time.process_time()
            found = diagnose(VisionDataModule(dataset(root), augment="none"))
            seconds = time.process_time() - start
            for row in compare(name, found, planted):
                print(f"{row[0]:10}{row[1]:34}{row[2]:>8}{row[3]:>8}{row[4]:>11}")
            others = {one.check: len(one.places) for one in found.findings if one.check not in {*map(_check, planted)}}
            count = sum(found.images.values())
            print(f"{name:10}other findings: {others}; {seconds / count * 1000:.1f} CPU seconds per 1,000 images\n")


def _check(kind: str) -> str:
    return kind.partition("/")[0]


if __name__ == "__main__":
    main()
