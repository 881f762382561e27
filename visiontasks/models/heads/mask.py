"""Segmentation heads: one class per pixel."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL, IGNORE_MASK, PRIOR_GRID, Sample
from visiontasks.losses import Loss
from visiontasks.models.heads.base import Head, Stage, class_counts


class MaskHead(Head):
    """Base class of segmentation heads; a subclass decodes a pyramid of feature maps to logits."""

    key, needs_pyramid = "mask", True

    def __init__(self, num_classes: int, loss: Loss) -> None:
        super().__init__()
        if num_classes < 2:
            raise InputError(
                f"{type(self).__name__}: {num_classes} classes of pixels; it needs two. Use a dataset with masks, and "
                "name the background as a class."
            )
        self.num_classes, self.criterion = num_classes, self.check_loss(loss, "classes")
        self.shares = nn.Buffer(torch.full((num_classes,), 1 / num_classes))
        self.frequencies = nn.Buffer(torch.full((num_classes,), 1 / num_classes))
        self.trivial = nn.Buffer(torch.zeros(PRIOR_GRID, PRIOR_GRID))  # float, so that weight averaging works
        self.register_load_state_dict_post_hook(
            lambda head, _: head.criterion.set_label_counts(head.shares, head.frequencies)
        )

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Computes logits, float (B, num_classes, h, w), of any stride from maps whose sides halve exactly per level.

        The maps of strides 1, 2, 4 ... come first, the final map of the network last.
        """

    def setup(self, summary: dict[str, Any]) -> None:
        pixels, totals = (torch.from_numpy(summary[name]) for name in ("pixels", "totals"))
        if not pixels.sum():
            raise InputError(f"{type(self).__name__}: no pixel of the training masks has a class.")
        self.shares.copy_(pixels / pixels.sum())
        self.frequencies.copy_(pixels / totals.clamp(min=1))
        self.criterion.set_label_counts(self.shares, self.frequencies)
        self.trivial.copy_(torch.from_numpy(self.target.baseline(summary)))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes logits for each pixel of the images, float (B, num_classes, H, W)."""
        height, width = features[0].shape[-2:]
        features = even(features)
        logits, whole = self.decode(features), features[0].shape[-2:]
        if logits.shape[-2:] != whole:
            logits = F.interpolate(logits, whole, mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.criterion(output, target.long().masked_fill(target == IGNORE_MASK, IGNORE_LABEL))

    def postprocess(self, output: Tensor) -> Tensor:
        """Returns the logits as float, because they are resized to the image before a class is chosen."""
        return output.float()

    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        # max is four times as fast as argmax
        return class_counts(output.max(1).indices, target, self.num_classes, IGNORE_MASK)

    def baseline(self) -> Tensor:
        return self.trivial

    def extras(self, stage: Stage) -> MetricCollection:
        """Returns the `confusion` matrix of the pixels for a test; its rows are the true classes."""
        options: Any = {"num_classes": self.num_classes, "ignore_index": IGNORE_MASK, "validate_args": False}
        return MetricCollection({"confusion": MulticlassConfusionMatrix(**options)} if stage == "test" else {})

    def extra_inputs(self, predictions: list[Sample], truths: list[Sample]) -> tuple[Tensor, Tensor]:
        """Returns the predicted and the true class of every pixel."""
        taken = [prediction["mask"].ravel() for prediction in predictions]
        pairs = zip(truths, taken, strict=True)
        true = [truth["mask"].ravel() if "mask" in truth else np.full_like(one, IGNORE_MASK) for truth, one in pairs]
        return torch.from_numpy(np.concatenate(taken)).long(), torch.from_numpy(np.concatenate(true)).long()

    def explained(self, output: Tensor, of: Tensor) -> Tensor:
        """Averages the logit of each class over its predicted pixels (Vinogradova, Dibrov and Myers 2020, eq. 2)."""
        taken = F.one_hot(of.argmax(1), output.shape[1]).movedim(-1, 1)
        return (output * taken).sum((2, 3)) / taken.sum((2, 3)).clamp(min=1)

    def column(self, output: Tensor) -> int:
        """Returns the most frequent class except the first, which is the background in most datasets."""
        shares = output.argmax(1).flatten().bincount(minlength=output.shape[1])
        return int(shares[1:].argmax()) + 1 if shares[1:].any() else 0


def levels(channels: list[int]) -> list[int]:
    """Returns the levels of a pyramid that have a map. Level n has stride 2^n; level 0, perhaps the image, is excluded.

    Raises:
        InputError: No level has a map.
    """
    found = [level for level, count in enumerate(channels[:-1]) if count and level]
    if not found:
        raise InputError("backbone.name: no map of stride 2, 4, 8, 16 or 32. Take a network with a pyramid for masks.")
    return found


def even(features: list[Tensor]) -> list[Tensor]:
    """Pads maps of strides 1, 2, 4 ... and the final map with zeros, so that sides halve exactly at each level.

    Raises:
        InputError: The size of a map does not match its stride, so it would not align with the pixels.
    """
    *pyramid, final = features
    whole = pyramid[0].shape[-2:]
    deepest = levels([part.shape[1] for part in features])[-1]
    coarsest = 2 ** (len(pyramid) - 1)
    sides = [(side + coarsest - 1) // coarsest * coarsest for side in whole]  # ONNX divides towards 0
    padded, exporting = [], torch.compiler.is_exporting()  # exported graphs take other sizes too
    for level, part in [*enumerate(pyramid), (deepest, final)]:
        size = tuple(part.shape[-2:])
        if not exporting and any(abs(side / 2**level - found) >= 1 for side, found in zip(whole, size, strict=True)):
            raise InputError(
                f"backbone.name: of {tuple(whole)} pixels its map of stride {2**level} has {size}. Take a network with "
                "padded convolutions."
            )
        bottom, right = (side // 2**level - found for side, found in zip(sides, size, strict=True))
        padded.append(F.pad(part, (0, right, 0, bottom)) if exporting or bottom or right else part)
    return padded
