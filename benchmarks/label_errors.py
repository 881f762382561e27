"""Faults planted in real sets: how many of them `find_label_errors` finds, and what it says about the sets as they are.

uv run python benchmarks/label_errors.py
uv run python benchmarks/label_errors.py --rows "flowers5, flipped labels" --seeds 3
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from visiontasks.data import (
    ImageFolder,
    MaskFolder,
    OxfordIIITPet,
    Scenes,
    Shapes,
    VisionDataModule,
    VisionDataset,
    VocBoxes,
)
from visiontasks.doctor.label_errors import find_label_errors

Fault = Callable[[Any, np.random.Generator, VisionDataset], Any]
CAMVID = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]


class Planted(VisionDataset):
    """A part of a dataset with a fault in a share of its images.

    Args:
        split: The split.
        make: Makes the dataset of a split.
        key: The target with the faults.
        fault: Changes a value; it returns None where it cannot.
        seed: Seed of the faults.
        share: Share of the images.
        most: Images that are used, at most.
        places: Gets the split and index of each image with a fault.
    """

    def __init__(
        self,
        split: str,
        make: Callable[[str], VisionDataset],
        key: str,
        fault: Fault,
        seed: int,
        share: float,
        most: int,
        places: set[tuple[str, int]],
    ) -> None:
        self.split, self.base, self.key, self.fault, self.places = split, make(split), key, fault, places
        self.class_names = self.base.class_names
        rng, self.count = np.random.default_rng([seed, len(split)]), min(most, len(self.base))
        order = rng.permutation(self.count)[: round(share * self.count)]
        self.seeds = {int(index): int(rng.integers(1 << 30)) for index in order}

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        return self.base.image(index)

    def name(self, index: int) -> str:
        return self.base.name(index)

    def names(self, key: str) -> list[str]:
        return self.base.names(key)

    def target(self, index: int) -> dict[str, Any]:
        known = {key: value for key, value in self.base.target(index).items() if key == self.key}
        return {key: self._changed(value, index) for key, value in known.items()}

    def mask(self, index: int) -> np.ndarray | None:
        return self._changed(self.base.mask(index), index) if self.key == "mask" else None

    def _changed(self, value: Any, index: int) -> Any:
        if index not in self.seeds:
            return value
        changed = self.fault(value, np.random.default_rng(self.seeds[index]), self.base)
        if changed is None:
            return value
        self.places.add((self.split, index))
        return changed


def flip(label: int, rng: np.random.Generator, dataset: VisionDataset) -> int:
    return int((label + rng.integers(1, len(dataset.class_names))) % len(dataset.class_names))


def toggle(labels: np.ndarray, rng: np.random.Generator, dataset: VisionDataset) -> np.ndarray:
    labels, place = labels.copy(), rng.integers(len(labels))
    labels[place] = 1 - labels[place]
    return labels


def shift(box: np.ndarray, rng: np.random.Generator, dataset: VisionDataset) -> np.ndarray:
    """Moves a box by half of its size in both directions, into the image."""
    size = box[2:] - box[:2]
    step = np.where(rng.random(2) < 0.5, -0.5, 0.5) * size
    step = np.where(box[:2] + step < -size / 4, -step, step)
    return np.maximum(np.concatenate([box[:2] + step, box[2:] + step]), 0).astype(np.float32)


def shift_object(objects: dict[str, Any], rng: np.random.Generator, dataset: VisionDataset) -> dict[str, Any] | None:
    if not len(objects["labels"]):
        return None
    boxes = objects["boxes"].copy()
    boxes[0] = shift(boxes[0], rng, dataset)
    return {**objects, "boxes": boxes}


def drop_object(objects: dict[str, Any], rng: np.random.Generator, dataset: VisionDataset) -> dict[str, Any] | None:
    if not len(objects["labels"]):
        return None
    kept = np.arange(len(objects["labels"])) != rng.integers(len(objects["labels"]))
    return {key: value[kept] for key, value in objects.items()}


def add_object(objects: dict[str, Any], rng: np.random.Generator, dataset: VisionDataset) -> dict[str, Any] | None:
    """Adds a copy of the first box at the opposite corner."""
    if not len(objects["labels"]) or (objects["boxes"][0, 2:] - objects["boxes"][0, :2]).prod() > 150 * 150:
        return None
    box = objects["boxes"][:1]
    moved = np.where(
        box[:, [0, 1, 0, 1]] > 60, box - box[:, [0, 1, 0, 1]], box + (box[:, 2:] - box[:, :2])[:, [0, 1, 0, 1]]
    )
    added = {"boxes": moved, "labels": objects["labels"][:1], "crowd": objects["crowd"][:1]}
    return {key: np.concatenate([objects[key], added[key]]) for key in added}


def swap_classes(mask: np.ndarray, rng: np.random.Generator, dataset: VisionDataset) -> np.ndarray:
    """Swaps two of the classes that cover at least 2 % of the mask."""
    counts = np.bincount(mask.ravel(), minlength=256)[:255] / mask.size
    first, second = rng.choice((counts > 0.02).nonzero()[0], 2, replace=False)
    swapped = mask.copy()
    swapped[mask == first], swapped[mask == second] = second, first
    return swapped


def shift_mask(mask: np.ndarray, rng: np.random.Generator, dataset: VisionDataset) -> np.ndarray:
    return np.roll(mask, (mask.shape[0] // 4, mask.shape[1] // 3), (0, 1))


def empty_mask(mask: np.ndarray, rng: np.random.Generator, dataset: VisionDataset) -> np.ndarray:
    return np.where(mask == 255, mask, np.bincount(mask[mask != 255]).argmax()).astype(mask.dtype)


FLOWERS = partial(ImageFolder, root="data/flowers5")
PETS = partial(OxfordIIITPet, root="data/pets3", classes="breed", splits={"val": 0.2})
TRIMAPS = partial(OxfordIIITPet, root="data/pets3", trimaps=True, splits={"val": 0.1})
RACCOON = partial(VocBoxes, root="data/raccoon", objects="skip", splits={"fold": 4})
RACCOONS = partial(VocBoxes, root="data/raccoon", objects="all", splits={"fold": 4})
STREETS = partial(
    MaskFolder, root="data/camvid", images="{split}", masks="{split}annot", class_names=CAMVID, ignore=[11]
)
SHAPES, SCENES = partial(Shapes, count=800, size=96), partial(Scenes, count=400, most=8, objects="all", empty=0.1)
ROWS: dict[str, tuple[Any, str, list[Fault], Any, int]] = {
    "flowers5, flipped labels": (FLOWERS, "label", [flip], 224, 10_000),
    "pets3, flipped breeds": (PETS, "label", [flip], 224, 10_000),
    "raccoon, shifted boxes": (RACCOON, "bbox", [shift], 224, 10_000),
    "raccoon, shifted objects": (RACCOONS, "objects", [shift_object], 320, 10_000),
    "raccoon, missing objects": (RACCOONS, "objects", [drop_object], 320, 10_000),
    "scenes, needless objects": (SCENES, "objects", [add_object], 256, 10_000),
    "camvid, swapped classes": (STREETS, "mask", [swap_classes], [360, 480], 120),
    "camvid, shifted masks": (STREETS, "mask", [shift_mask], [360, 480], 120),
    "pets3, swapped classes": (TRIMAPS, "mask", [swap_classes], 224, 10_000),
    "pets3, empty masks": (TRIMAPS, "mask", [empty_mask], 224, 10_000),
    "shapes": (SHAPES, "label", [flip], 96, 10_000),
    "shapes, several labels": (SHAPES, "labels", [toggle], 96, 10_000),
    "scenes": (SCENES, "objects", [shift_object], 256, 10_000),
}


def check(row: str, seed: int, share: float) -> None:
    make, key, (fault,), size, most = ROWS[row]
    places: set[tuple[str, int]] = set()
    made = partial(Planted, make=make, key=key, fault=fault, seed=seed, share=share, most=most, places=places)
    data = VisionDataModule(made, image_size=size, augment="none")
    start = time.process_time()
    found = find_label_errors(data)
    seconds = time.process_time() - start
    images = sum(len(data.dataset(split)) for split in ("train", "val"))
    for finding in found:
        named = {(place.split, place.index) for place in finding.places}
        if places and finding.check == f"{key}_errors":
            hit = len(named & places)
            print(f"    recall {hit / len(places):.3f}, precision {hit / len(named):.3f}", end="; ")
        print(f"    {finding.check}: {len(named)} of {images} images", flush=True)
        for place in finding.places[: 0 if share else 12]:
            print(f"        {place.split} {place.name}: {place.note}")
    print(
        f"{row}: {len(places)} faults (seed {seed}), {1000 * seconds / images:.0f} CPU s per 1,000 images", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.05], help="of the images with a fault")
    options = parser.parse_args()
    for row in options.rows:
        for share in options.shares:
            for seed in range(options.seeds if share else 1):
                check(row, seed, share)


if __name__ == "__main__":
    main()
