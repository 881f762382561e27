"""The contract that all rooms share: what a sample, a batch and a prediction hold.

| key | sample (numpy) | batch (torch) | meaning |
|---|---|---|---|
| `image` | uint8 (H, W, 3) | uint8 (B, 3, H, W) | RGB, upright, not normalized |
| `label` | int | int64 (B,) | class index |
| `bbox` | float32 (4,) | float32 (B, 4) | xyxy; pixels in a sample, 0..1 of the image in a batch |
| `mask` | uint8 (H, W) | uint8 (B, H, W) | class index per pixel |
| `original_mask` | uint8 (H, W) | uint8 (B, H, W), or a list of (H, W) | val, test: the mask before resizing |
| `index` | int | int64 (B,) | place in the dataset |
| `size` | (int, int) | int64 (B, 2) | height and width of the original image |

A key that a sample does not have is absent, never None. A prediction is a dict with the same keys. The classes of
`label` are the `class_names` of a spec, those of `mask` its `mask_names`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Sample = dict[str, Any]
Batch = dict[str, Any]

IGNORE_LABEL = -100  # the default ignore_index of torch's losses
IGNORE_MASK = 255  # a mask's class is uint8
PLACES = 64  # rows and columns of the grid on which the classes of masks are counted by place


class InputError(ValueError):
    """Something the user gave is wrong; the message is complete, and is shown without a traceback."""


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


def names_key(key: str) -> str:
    """Where a spec has the names of the classes that a head of this key tells apart."""
    return "mask_names" if key == "mask" else "class_names"


def names_of(spec: dict[str, Any], key: str) -> list[str]:
    """The names of the classes that a head of this key tells apart."""
    return spec.get(names_key(key), [])
