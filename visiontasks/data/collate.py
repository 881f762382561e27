"""Samples side by side: a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from visiontasks.core.sample import IGNORE_LABEL, IGNORE_MASK, Batch, Sample


def collate(samples: list[Sample]) -> Batch:
    """Stacks samples into a batch.

    A target that only some samples have is filled in for the others with the value that its head
    leaves out: -100 for `label`, NaN for `bbox`, 255 for `mask`. Original masks of different sizes stay a list.

    Args:
        samples: Dicts of the sample contract; images of one size.

    Returns:
        A dict of the batch contract. `image` is in channels_last memory format.
    """
    images = torch.from_numpy(np.stack([sample["image"] for sample in samples])).permute(0, 3, 1, 2)
    batch: Batch = {"image": images}
    for key in ("index", "size"):
        batch[key] = torch.tensor([sample[key] for sample in samples])
    keys = {key for sample in samples for key in sample}
    if "label" in keys:
        batch["label"] = torch.tensor([sample.get("label", IGNORE_LABEL) for sample in samples])
    if "bbox" in keys:
        missing = np.full(4, np.nan, np.float32)
        height, width = images.shape[-2:]
        boxes = torch.from_numpy(np.stack([sample.get("bbox", missing) for sample in samples]))
        batch["bbox"] = boxes / torch.tensor([width, height, width, height])
    for key in {"mask", "original_mask"} & keys:
        batch[key] = _collate_masks(key, samples)
    return batch


def _collate_masks(key: str, samples: list[Sample]) -> Tensor | list[Tensor]:
    masks = []
    for sample in samples:
        shape = sample["image"].shape[:2] if key == "mask" else sample["size"]
        masks.append(torch.from_numpy(sample[key] if key in sample else np.full(shape, IGNORE_MASK, np.uint8)))
    return torch.stack(masks) if len({mask.shape for mask in masks}) == 1 else masks
