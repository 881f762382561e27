"""Which pixel is what."""

from __future__ import annotations

from abc import abstractmethod
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Resize, Size, place
from visiontasks.core.sample import IGNORE_LABEL, IGNORE_MASK, PLACES, Batch
from visiontasks.losses import Loss
from visiontasks.models.heads.base import Head, Stage
from visiontasks.targets.metrics import confusion, mask_metrics, mask_score, mask_tables


class MaskHead(Head):
    """One class a pixel; a subclass says how a pyramid of feature maps becomes logits.

    Args:
        num_classes: Number of classes.
        loss: Logits against masks.
    """

    key, monitor, needs_pyramid = "mask", "miou", True

    def __init__(self, num_classes: int, loss: Loss) -> None:
        super().__init__()
        if num_classes < 2:
            raise InputError(
                f"{type(self).__name__}: {num_classes} classes of pixels; it needs two. Use a dataset with masks, and "
                "name the background as a class."
            )
        self.check_loss(loss, "classes")
        self.num_classes, self.criterion = num_classes, deepcopy(loss)
        self.shares: Tensor
        self.frequencies: Tensor
        self.trivial: Tensor
        self.register_buffer("shares", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("frequencies", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("trivial", torch.zeros(PLACES, PLACES))  # float: weights may be averaged
        self.register_load_state_dict_post_hook(lambda head, _: head._tell_frequencies())

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Computes logits, float (B, num_classes, h, w), from maps whose sides halve exactly from one to the next.

        The maps of strides 1, 2, 4 ... come first, the network's final map last; the logits may be of any stride.
        """

    def setup(self, summary: dict[str, Any]) -> None:
        masks = summary["masks"]
        if not masks["pixels"].sum():
            raise InputError(f"{type(self).__name__}: no pixel of the training masks has a class.")
        self.shares.copy_(masks["pixels"] / masks["pixels"].sum())
        self.frequencies.copy_(masks["pixels"] / masks["totals"].clamp(min=1))
        self._tell_frequencies()
        self.trivial.copy_(best_guess(masks["places"]))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Returns logits, float (B, num_classes, H, W), one for each pixel of the images."""
        height, width = features[0].shape[-2:]
        features = even(features)
        logits, whole = self.decode(features), features[0].shape[-2:]
        if logits.shape[-2:] != whole:
            logits = F.interpolate(logits, whole, mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.criterion(output, target.long().masked_fill(target == IGNORE_MASK, IGNORE_LABEL))

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """Returns `mask`, uint8 (B, H, W), of the network's images."""
        return {"mask": self.scores(output)}

    def metrics(self, stage: Stage) -> MetricCollection:
        return mask_metrics(self.num_classes, stage)

    def tables(self) -> MetricCollection:
        return mask_tables(self.num_classes)

    def quality(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean IoU over the classes that occur in the image, or in what is predicted there."""
        pairs = zip(self.scores(output), target, strict=True)
        return torch.stack([mask_score(confusion(mask, truth, self.num_classes)) for mask, truth in pairs])

    def no_target(self, images: Tensor) -> Tensor:
        return images.new_full((len(images), *images.shape[-2:]), IGNORE_MASK, dtype=torch.uint8)

    def answer(self, output: Tensor) -> Tensor:
        """The logits themselves: they are carried back to the image before a class is chosen."""
        return output.float()

    def scores(self, output: Tensor) -> Tensor:
        """The class of each pixel, uint8 (B, H, W)."""
        return output.max(1).indices.byte()  # four times as fast as argmax

    def scored(self, output: Tensor, batch: Batch, spec: dict[str, Any]) -> tuple[Any, Any]:
        """Masks at the resolution of the labels, whatever that of the network is."""
        if "original_mask" not in batch:
            return self.scores(output), batch["mask"]
        pairs = zip(output.detach().float(), batch["size"].tolist(), strict=True)
        frame = (spec["image_size"], spec["resize"])
        return [original_classes(logits, *sides, *frame) for logits, sides in pairs], batch["original_mask"]

    def floor(self, target: Any) -> list[Tensor]:
        """The class that is most frequent at each place of the training masks, or in all of them: see `best_guess`."""
        trivial = self.trivial.round().byte()[None, None]
        return [F.interpolate(trivial, mask.shape, mode="nearest-exact")[0, 0] for mask in target]

    def _tell_frequencies(self) -> None:
        self.criterion.set_label_counts(self.shares, self.frequencies)


def original_classes(logits: Tensor, height: int, width: int, size: Size, mode: Resize) -> Tensor:
    """The class of each pixel of an image, uint8 (H, W), from logits of its picture, float (C, h, w).

    The logits are carried back bilinearly, one class after the other: all at once a large photo would not fit.
    """
    new = place(height, width, size, mode)
    logits = logits[:, new.top : new.top + new.height, new.left : new.left + new.width]
    if logits.shape[1:] == (height, width):
        return logits.max(0).indices.byte()  # four times as fast as argmax
    best = classes = None
    for label, part in enumerate(logits):
        whole = F.interpolate(part[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
        if best is None or classes is None:
            best, classes = whole, torch.zeros_like(whole, dtype=torch.uint8)
        else:
            classes[whole > best] = label
            best = torch.maximum(best, whole)
    assert classes is not None
    return classes


def levels(channels: list[int]) -> list[int]:
    """The levels of a pyramid that have a map: level n is of stride 2^n; level 0, perhaps the image, is left out.

    Raises:
        InputError: There is none.
    """
    found = [level for level, count in enumerate(channels[:-1]) if count and level]
    if not found:
        raise InputError("backbone.name: no map of stride 2, 4, 8, 16 or 32. Take a network with a pyramid for masks.")
    return found


def even(features: list[Tensor]) -> list[Tensor]:
    """Pads maps of strides 1, 2, 4 ... and the final one with zeros, so that each is exactly half of the one before.

    Raises:
        InputError: A map is not of the size that its stride says: it would be laid on other pixels than its own.
    """
    *pyramid, final = features
    whole = pyramid[0].shape[-2:]
    deepest = levels([part.shape[1] for part in features])[-1]
    coarsest = 2 ** (len(pyramid) - 1)
    sides = [(side + coarsest - 1) // coarsest * coarsest for side in whole]  # ONNX divides towards 0
    padded, exporting = [], torch.compiler.is_exporting()  # a graph is for other sizes too
    for level, part in [*enumerate(pyramid), (deepest, final)]:
        height, width = part.shape[-2:]
        wrong = (abs(side / 2**level - found) >= 1 for side, found in zip(whole, (height, width), strict=True))
        if not exporting and any(wrong):
            raise InputError(
                f"backbone.name: of {tuple(whole)} pixels its map of stride {2**level} has {(height, width)}. "
                "Take a network whose convolutions are padded."
            )
        bottom, right = ((side // 2**level) - found for side, found in zip(sides, (height, width), strict=True))
        padded.append(F.pad(part, (0, right, 0, bottom)) if exporting or bottom or right else part)
    return padded


def best_guess(places: Tensor) -> Tensor:
    """A map of classes, uint8 (h, w), from counts by class and place, int64 (C, h, w).

    The most frequent class at each place or, if that has the higher mean IoU on what was counted, overall.
    """
    everywhere = places.sum((1, 2)).argmax().expand(places.shape[1:])
    guesses = [places.argmax(0), everywhere]

    def miou(guess: Tensor) -> float:
        chosen = F.one_hot(guess, len(places)).permute(2, 0, 1)
        return float(mask_score(torch.einsum("thw,phw->tp", places, chosen)))

    return max(guesses, key=miou).byte()
