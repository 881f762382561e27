"""Normalization of pixels before the first layer: part of the model, so that checkpoints contain it."""

from typing import Any

import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Size, height_width

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
LARGEST = 32
EPSILON = 1e-6  # added to the variances, because those of the smallest components are almost 0


class Normalizer(nn.Module):
    """Normalization of each channel by a given mean and standard deviation.

    Attributes:
        mean: Float (in_channels, 1, 1), 0..1.
        std: Float (in_channels, 1, 1), 0..1.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.mean = nn.Buffer(torch.zeros(in_channels, 1, 1))
        self.std = nn.Buffer(torch.ones(in_channels, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalizes images, float (B, 3, H, W), 0..1: float (B, in_channels, H, W)."""
        return (_channels(images, self.in_channels) - self.mean) / self.std

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Sets the means and standard deviations of the channels, float (3,), 0..1."""
        if self.in_channels == 1:  # all channels of a gray image are equal
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std[:, None, None])


class Whitening(nn.Module):
    """ZCA whitening: removes correlations between pixels with the least change of an image.

    Krizhevsky 2009, appendix A. Before `set_statistics` is called, images stay unchanged.

    Attributes:
        mean: Mean image, float (in_channels, H, W).
        matrix: Float (D, D), D = in_channels x H x W, symmetric.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.mean = nn.Buffer(torch.zeros(in_channels, 0, 0))
        self.matrix = nn.Buffer(torch.zeros(0, 0))

    def set_image_size(self, size: Size) -> None:
        """Allocates the statistics for images of this size in pixels.

        Raises:
            InputError: The images are larger than 32 x 32.
        """
        height, width = height_width(size)
        if max(height, width) > LARGEST:
            raise InputError(
                f"backbone.normalization: zca is for images of at most {LARGEST} x {LARGEST} pixels. With {height} x "
                f"{width}, its matrix has (3 x {height} x {width})^2 = {(3 * height * width) ** 2:.1e} entries. Reduce "
                "data.image_size, or use `dataset`."
            )
        self.mean = self.mean.new_zeros(self.in_channels, height, width)
        self.matrix = torch.eye(self.mean.numel(), dtype=self.matrix.dtype, device=self.matrix.device)

    def forward(self, images: Tensor) -> Tensor:
        """Whitens images, float (B, 3, H, W), 0..1: float (B, in_channels, H, W).

        Raises:
            InputError: The images do not have the size of the statistics.
        """
        if images.shape[-2:] != self.mean.shape[-2:]:
            expected, found = (" x ".join(map(str, part.shape[-2:])) for part in (self.mean, images))
            raise InputError(
                f"backbone.normalization: zca takes images of one size, here {expected}; found {found}. Remove "
                "train_size and tiles, or use `dataset`."
            )
        centered = (_channels(images, self.in_channels) - self.mean).flatten(1)
        with torch.autocast(images.device.type, enabled=False):  # the 8 bits of bfloat16 would give mostly noise
            white = centered.to(self.matrix.dtype) @ self.matrix
        return white.unflatten(1, self.mean.shape).contiguous(memory_format=torch.channels_last)

    def set_statistics(self, mean: Tensor, covariance: Tensor) -> None:
        """Sets the statistics of the training set.

        Args:
            mean: Mean image, float64 (3, H, W), 0..1.
            covariance: Covariance of the pixels in that order, float64 (3 H W, 3 H W).
        """
        if self.in_channels == 1:
            mean = _channels(mean[None], 1)[0]
            luma, pixels = covariance.new_tensor(LUMA), mean.numel()
            parts = covariance.reshape(3, pixels, 3, pixels)
            covariance = torch.einsum("a,aibj,b->ij", luma, parts, luma)
        variances, axes = torch.linalg.eigh(covariance)
        # rounding can make the smallest variances negative
        scaled = axes / (variances.clamp(min=0) + EPSILON).sqrt()
        self.mean.copy_(mean)
        self.matrix.copy_(scaled @ axes.T)


def statistics(given: str | list[list[float]], pretrained: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Returns the mean and standard deviation of the channels, float (3,): the given ones, else those of the weights.

    Args:
        given: `backbone.normalization`.
        pretrained: timm's `pretrained_cfg` of the network.

    Raises:
        InputError: `given` is a list but does not hold two lists of three numbers.
    """
    if isinstance(given, str):
        return torch.tensor(pretrained["mean"]), torch.tensor(pretrained["std"])
    if [len(row) for row in given] != [3, 3] or min(given[1]) <= 0:
        raise InputError(
            f"backbone.normalization: {given} is not two lists of three numbers: the means of the channels in 0..1 "
            "and their standard deviations, which must be above 0."
        )
    mean, std = torch.tensor(given, dtype=torch.float32)
    return mean, std


def _channels(images: Tensor, number: int) -> Tensor:
    if number == 1:
        return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return images
