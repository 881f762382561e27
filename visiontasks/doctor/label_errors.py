"""Labels that are probably wrong, found without a training."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width
from visiontasks.core.progress import track
from visiontasks.core.sample import Batch
from visiontasks.data import VisionDataModule
from visiontasks.data.augment import EvalTransform
from visiontasks.data.batches import BatchDataset, collate
from visiontasks.data.splits import MissingSplit
from visiontasks.doctor.box_errors import BoxErrors, ObjectErrors
from visiontasks.doctor.class_errors import FlagErrors, LabelErrors
from visiontasks.doctor.finding import Finding, Place
from visiontasks.doctor.mask_errors import MaskErrors
from visiontasks.doctor.suspects import Check, Suspect
from visiontasks.models import Backbone
from visiontasks.models.backbone import BUNDLED

CHECKS: dict[str, type[Check]] = {
    "label": LabelErrors,
    "labels": FlagErrors,
    "bbox": BoxErrors,
    "objects": ObjectErrors,
    "mask": MaskErrors,
}
BATCH = 16
PIXELS, PIXELS_OF_MAPS = 224 * 224, 256 * 256  # of a picture, at most: more take longer and find little more
FIX = (
    "Look at these images, the clearest first; correct the annotations that are wrong, or remove the images. Some are "
    "right and only unusual."
)


def find_label_errors(
    data: VisionDataModule,
    targets: Sequence[str] = (),
    limit: int = 10_000,
    limit_of_maps: int = 2_000,
    seed: int = 0,
) -> list[Finding]:
    """Finds annotations of train and val that contradict all the others.

    The bundled backbone computes the features of each image once. A closed form, fitted without the image, predicts its
    annotation: exact leave-one-out of ridge regression for classes, five folds of the images for boxes. How much the
    two must differ depends on how well the other images are predicted, so a clean set of hard images gives no finding.
    Nothing is trained, and no connection to the internet is needed. Images that cannot be read are left out.

    Args:
        data: The data.
        targets: Keys of the targets that are checked; all by default.
        limit: Images that are used, at most; a random part of a larger set.
        limit_of_maps: The same for boxes, objects and masks, which need more memory.
        seed: Seed of the random part.

    Returns:
        One finding per kind of target, `label_errors`, `labels_errors`, `bbox_errors`, `objects_errors`, `mask_errors`;
        its places are the images, the clearest first.
    """
    keys = [key for key in data.keys if key in CHECKS and key in (targets or CHECKS) and _has_classes(data, key)]
    if not keys:
        return []
    needs_maps = any(CHECKS[key].needs_maps for key in keys)
    only_maps = all(CHECKS[key].needs_maps for key in keys)
    images = _chosen(data, limit_of_maps if only_maps else limit, seed)
    backbone = Backbone(BUNDLED, "bundled").eval().to(memory_format=torch.channels_last)
    checks = {key: CHECKS[key](data.dataset("train").names(key), backbone.channels) for key in keys}
    used = dict.fromkeys(keys, 0)
    for rows, batch in _batches(data, images, PIXELS_OF_MAPS if needs_maps else PIXELS):
        with torch.no_grad():
            open_keys = [key for key in keys if not (CHECKS[key].needs_maps and used[key] >= limit_of_maps)]
            features = backbone(batch["image"], any(CHECKS[key].needs_maps for key in open_keys))
            for key in open_keys:
                checks[key].add(features, batch[key], rows)
                used[key] += len(rows)
    found = [
        _finding(data, key, checks[key], images, used[key], limit_of_maps if CHECKS[key].needs_maps else limit)
        for key in keys
        if used[key]
    ]
    return [finding for finding in found if finding]


def _has_classes(data: VisionDataModule, key: str) -> bool:
    """Returns whether a target has something to be confused: a box has even without classes."""
    return key in ("bbox", "objects") or len(data.dataset("train").names(key)) > (key != "labels")


def _splits(data: VisionDataModule) -> list[str]:
    try:
        data.dataset("val")
    except MissingSplit:
        return ["train"]
    return ["train", "val"]


def _chosen(data: VisionDataModule, limit: int, seed: int) -> list[tuple[str, int]]:
    """Returns the split and index of the images in random order, so that any first part of them is a fair sample."""
    images = [(split, index) for split in _splits(data) for index in range(len(data.dataset(split)))]
    order = np.random.default_rng(seed).permutation(len(images))[:limit]
    return [images[place] for place in order.tolist()]


def _batches(
    data: VisionDataModule, images: list[tuple[str, int]], pixels: int
) -> Iterator[tuple[torch.Tensor, Batch]]:
    """Yields the rows of images and their batch; an image that cannot be read has none."""
    names = {key: data.dataset("train").names(key) for key in data.keys}
    transform = EvalTransform(_size(data, pixels), data.resize)
    parts = {split: BatchDataset(data.dataset(split), transform, names) for split in _splits(data)}
    for start in track(range(0, len(images), BATCH), "Features"):
        samples, rows = [], []
        for row in range(start, min(start + BATCH, len(images))):
            split, index = images[row]
            try:
                samples.append(parts[split].sample(0, index))
                rows.append(row)
            except InputError:  # another check names it
                continue
        if samples:
            yield torch.tensor(rows), collate(samples, names)


def _size(data: VisionDataModule, pixels: int) -> tuple[int, int]:
    """Returns the size of the pictures: that of the data, or a smaller one of the same aspect."""
    height, width = height_width(data.image_size)
    scale = min(1.0, (pixels / (height * width)) ** 0.5)
    if scale == 1:
        return height, width
    height, width = (max(32, round(side * scale / 32) * 32) for side in (height, width))
    return height, width


def _finding(
    data: VisionDataModule, key: str, check: Check, images: list[tuple[str, int]], used: int, limit: int
) -> Finding | None:
    merged: dict[int, list[Suspect]] = {}
    for one in sorted(check.suspects(), key=lambda suspect: -suspect.doubt):
        merged.setdefault(one.row, []).append(one)
    if not merged:
        return None
    total = sum(len(data.dataset(split)) for split in _splits(data))
    part = f"; {used:,} of {total:,} images, chosen at random, were checked" if limit < total else ""
    one = len(merged) == 1
    message = f"{len(merged):,} {'image has' if one else 'images have'} {check.what} that are probably wrong"
    places = [_place(data, *images[row], parts) for row, parts in merged.items()]
    return Finding(f"{key}_errors", check.severity, f"{message}{part}{check.part}.", FIX, places)


def _place(data: VisionDataModule, split: str, index: int, parts: list[Any]) -> Place:
    return Place(split, index, data.dataset(split).name(index), "; ".join(part.note for part in parts))
