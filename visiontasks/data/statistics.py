"""Statistics of the pixels of a training set, for normalization."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from visiontasks.core.sample import Batch


def channel_statistics(batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Computes mean and standard deviation of each channel over all pixels of uint8 images: float32 (3,), 0..1."""
    total, squares, pixels = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0
    for batch in batches:
        images = batch["image"].double() / 255
        total += images.sum((0, 2, 3))
        squares += images.square().sum((0, 2, 3))
        pixels += images[:, 0].numel()
    mean = total / pixels
    return mean.float(), (squares / pixels - mean**2).clamp(min=1e-8).sqrt().float()


def pixel_statistics(batches: Iterable[Batch], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Computes the mean image, float64 (3, H, W), 0..1, and the covariance of its pixels, (3 H W, 3 H W)."""
    length, count = 3 * math.prod(size), 0
    total, products = torch.zeros(length, dtype=torch.float64), torch.zeros(length, length, dtype=torch.float64)
    for batch in batches:
        pixels = batch["image"].flatten(1).double() / 255
        total += pixels.sum(0)
        products.addmm_(pixels.T, pixels)
        count += len(pixels)
    mean = total / count
    return mean.reshape(3, *size), products / count - torch.outer(mean, mean)
