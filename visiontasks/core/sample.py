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

Sample = dict[str, Any]
Batch = dict[str, Any]

IGNORE_LABEL = -100  # the default ignore_index of torch's losses
IGNORE_MASK = 255  # a mask's class is uint8
PLACES = 64  # rows and columns of the grid on which the classes of masks are counted by place


def names_key(key: str) -> str:
    """Where a spec has the names of the classes that a head of this key tells apart."""
    return "mask_names" if key == "mask" else "class_names"


def names_of(spec: dict[str, Any], key: str) -> list[str]:
    """The names of the classes that a head of this key tells apart."""
    return spec.get(names_key(key), [])
