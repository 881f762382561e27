"""The keys of a sample, a batch and a prediction, which all packages share.

| key | sample (numpy) | batch (torch) | meaning |
|---|---|---|---|
| `image` | uint8 (H, W, 3) | uint8 (B, 3, H, W) | RGB, upright, not normalized |
| `index` | int | int64 (B,) | position in the dataset |
| `size` | (int, int) | int64 (B, 2) | height and width of the original image |
| `truth` | dict | list of dicts | val and test: the targets before resizing |

Every other key belongs to a target kind in `visiontasks.targets`. A sample without a target lacks its key; the value is
never None. A prediction is a dict with the same keys, in pixels of the original image.
"""

from typing import Any

Sample = dict[str, Any]
Batch = dict[str, Any]

COMMON_KEYS = ("image", "index", "size", "truth")
IGNORE_LABEL = -100  # the default ignore_index of torch's losses
BACKGROUND = "background"  # the class of pixels that belong to none
IGNORE_MASK = 255  # the class of a mask is uint8
FILL = 114  # gray level around an image that does not fill its picture
PRIOR_GRID = 64  # rows and columns of the grid on which the classes of masks are counted by position
