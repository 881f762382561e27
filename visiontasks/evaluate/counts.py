"""What a model gets right on a split, image by image: sums that any figure can be made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.progress import track

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width, original_boxes
from visiontasks.core.sample import IGNORE_MASK, Sample, names_key, names_of
from visiontasks.data import VisionDataModule
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.models.heads.box import best_box
from visiontasks.models.heads.mask import best_guess
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.targets.metrics import box_iou

Figures = dict[str, np.ndarray]
Counts = dict[str, np.ndarray]
"""What each image adds, by key, float64 (N, 3, classes). Of `label` and `mask`: how many labels or pixels are of a
class, how many are taken for it, and how many of these rightly. Of `bbox`: how many boxes there are, the sum of their
IoUs, and how many have one above 0.5."""


def count(predictor: Predictor, dataset: VisionDataset, **options: Any) -> Counts:
    """Predicts a dataset and counts what is right, image by image.

    Args:
        predictor: The model.
        dataset: Images with targets of the model's keys and classes.
        **options: Of `Predictor.stream`: `batch_size`, `workers`, `tile`, `tta`.

    Raises:
        InputError: The dataset has other classes, or no target for what the model answers.
    """
    for key in predictor.network.keys:
        if names_of(predictor.spec, key) != (found := list(getattr(dataset, names_key(key)))):
            raise InputError(
                f"{names_key(key)}: the data has {found}, the model {names_of(predictor.spec, key)}. Take the config "
                "that it was trained with."
            )
    stream = track(predictor.stream(_sources(dataset), **options), "Evaluating", len(dataset), transient=True)
    return _count(predictor.network.keys, dataset, (sample for _, sample in stream))


def count_floor(keys: Iterable[str], data: VisionDataModule, split: str) -> Counts:
    """Counts as `count` does what a predictor gets right that has seen the training targets alone, and no image."""
    dataset, summary, frame = data.dataset(split), data.summary(), (data.image_size, data.resize)
    keys = tuple(keys)
    label = int(summary["label_counts"].argmax()) if "label_counts" in summary else 0
    box = best_box(summary["boxes"]).numpy() * (height_width(data.image_size)[::-1] * 2) if "bbox" in keys else None
    places = best_guess(data.mask_counts["places"]).byte()[None, None] if "mask" in keys else None

    def guesses() -> Iterator[Sample]:
        for index in range(len(dataset)):
            sample: Sample = {"label": label}
            if box is not None:
                sample["bbox"] = original_boxes(box, *dataset.size(index), *frame)
            if places is not None:
                mask = dataset.mask(index)
                size = dataset.size(index) if mask is None else mask.shape
                sample["mask"] = torch.nn.functional.interpolate(places, size, mode="nearest-exact")[0, 0].numpy()
            yield sample

    return _count(keys, dataset, guesses())


def figures(key: str, totals: np.ndarray) -> Figures:
    """The figures of summed counts.

    Args:
        key: What was answered.
        totals: Sums over images, (..., 3, classes); leading axes are kept.

    Returns:
        By name, (...): the monitored one first; and for each class, (..., classes), NaN where it does not occur, by
        a name that begins with `class/`.
    """
    first, second, third = (totals[..., row, :] for row in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        if key == "bbox":
            number = first.sum(-1)
            return {
                "iou": second.sum(-1) / number,
                "iou50": third.sum(-1) / number,
                "class/iou": second / first,
                "class/iou50": third / first,
            }
        f1 = 2 * third / (first + second)
        if key == "label":
            return {
                "accuracy": third.sum(-1) / first.sum(-1),
                "f1": np.nanmean(f1, -1),
                "class/recall": third / first,
                "class/precision": third / second,
                "class/f1": f1,
            }
        iou = third / (first + second - third)
        return {
            "miou": np.nanmean(iou, -1),
            "dice": np.nanmean(f1, -1),
            "pixel_accuracy": third.sum(-1) / first.sum(-1),
            "class/iou": iou,
            "class/dice": f1,
            "class/recall": third / first,
        }


def _sources(dataset: VisionDataset) -> Iterator[Source]:
    for index in range(len(dataset)):
        yield Source(dataset.name(index), partial(dataset.image, index))


def _count(keys: Iterable[str], dataset: VisionDataset, predictions: Iterable[Sample]) -> Counts:
    rows: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    for index, sample in enumerate(predictions):
        target = dataset.target(index)
        if "label" in rows:
            true = [target["label"]] if "label" in target else []
            answer = [sample["label"]] if true else []
            rows["label"].append(_count_classes(np.array(true, int), np.array(answer, int), len(dataset.class_names)))
        if "bbox" in rows:
            rows["bbox"].append(_count_box(target, sample, len(dataset.class_names)))
        if "mask" in rows:
            mask = dataset.checked_mask(index, sample["mask"].shape)
            known = np.zeros_like(sample["mask"], bool) if mask is None else mask != IGNORE_MASK
            true = sample["mask"] if mask is None else mask
            rows["mask"].append(_count_classes(true[known], sample["mask"][known], len(dataset.mask_names)))
    counts = {key: np.stack(row) for key, row in rows.items()}
    for key, values in counts.items():
        if not values[:, 0].any():
            raise InputError(f"{key}: no image of this split has one to compare with. Take another split or set.")
    return counts


def _count_classes(target: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """Of labels or pixels, int (n,), what each is and what it is taken for."""
    kinds = (target, answer, target[target == answer])
    return np.stack([np.bincount(kind, minlength=classes) for kind in kinds]).astype(np.float64)


def _count_box(target: Sample, sample: Sample, classes: int) -> np.ndarray:
    counts = np.zeros((3, classes))
    if "bbox" in target:
        boxes = (torch.from_numpy(np.asarray(box, np.float64))[None] for box in (sample["bbox"], target["bbox"]))
        iou = float(box_iou(*boxes))
        counts[:, target.get("label", 0)] = 1, iou, iou > 0.5
    return counts
