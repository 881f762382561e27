"""What becomes of the pixels before the first layer: part of the model, so that a checkpoint has it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Size, height_width

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
LARGEST = 32
EPSILON = 1e-6  # added to the variances: those of the smallest components are next to nothing


class Normalizer(nn.Module):
    """Mean 0 and standard deviation 1 in each channel, by statistics that are given.

    Args:
        in_channels: 3, or 1 for a network that sees the images in gray.

    Attributes:
        mean: Float (in_channels, 1, 1), 0..1.
        std: The same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.register_buffer("mean", torch.zeros(in_channels, 1, 1))
        self.register_buffer("std", torch.ones(in_channels, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Turns float (B, 3, H, W), 0..1, into what the network expects: float (B, in_channels, H, W)."""
        return (_channels(images, self.in_channels) - self.mean) / self.std

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Normalizes by these means and standard deviations of the channels, float (3,), 0..1, from now on."""
        if self.in_channels == 1:  # of a gray image all channels are equal
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std[:, None, None])


class Whitening(nn.Module):
    """ZCA: pixels without correlations, by the rotation that changes an image least (Krizhevsky 2009, appendix A).

    Until `set_statistics` the images stay as they are.

    Args:
        in_channels: 3, or 1 for a network that sees the images in gray.

    Attributes:
        mean: Mean image, float (in_channels, H, W).
        matrix: Float (D, D), D = in_channels x H x W, symmetric.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.register_buffer("mean", torch.zeros(in_channels, 0, 0))
        self.register_buffer("matrix", torch.zeros(0, 0))

    def set_image_size(self, size: Size) -> None:
        """Makes room for images of this size in pixels.

        Raises:
            InputError: They are larger than 32 x 32.
        """
        height, width = height_width(size)
        if max(height, width) > LARGEST:
            entries = (3 * height * width) ** 2
            raise InputError(
                f"backbone.normalization: zca is for images of at most {LARGEST} x {LARGEST} pixels. With {height} x "
                f"{width} its matrix has (3 x {height} x {width})^2 = {entries:.1e} entries. Lower data.image_size, or "
                "take `dataset`."
            )
        self.mean = self.mean.new_zeros(self.in_channels, height, width)
        self.matrix = torch.eye(self.mean.numel(), dtype=self.matrix.dtype, device=self.matrix.device)

    def forward(self, images: Tensor) -> Tensor:
        """Turns float (B, 3, H, W), 0..1, into what the network expects: float (B, in_channels, H, W).

        Raises:
            InputError: The images are not of the size that the whitening was made for.
        """
        if images.shape[-2:] != self.mean.shape[-2:]:
            (height, width), (found, wide) = self.mean.shape[-2:], images.shape[-2:]
            raise InputError(
                f"backbone.normalization: zca takes images of one size, here {height} x {width}; found {found} x "
                f"{wide}. Leave out train_size and tiles, or take `dataset`."
            )
        centred = (_channels(images, self.in_channels) - self.mean).flatten(1)
        with torch.autocast(images.device.type, enabled=False):  # 8 bits of bfloat16 would be mostly noise
            white = centred.to(self.matrix.dtype) @ self.matrix
        return white.unflatten(1, self.mean.shape).contiguous(memory_format=torch.channels_last)

    def set_statistics(self, mean: Tensor, covariance: Tensor) -> None:
        """Whitens by these statistics of the training set from now on.

        Args:
            mean: Mean image, float64 (3, H, W), 0..1.
            covariance: Of its pixels in that order, float64 (3 H W, 3 H W).
        """
        if self.in_channels == 1:
            mean = _channels(mean[None], 1)[0]
            luma, pixels = covariance.new_tensor(LUMA), mean.numel()
            parts = covariance.reshape(3, pixels, 3, pixels)
            covariance = torch.einsum("a,aibj,b->ij", luma, parts, luma)
        variances, axes = torch.linalg.eigh(covariance)
        # rounding makes the smallest ones negative
        scaled = axes / (variances.clamp(min=0) + EPSILON).sqrt()
        self.mean.copy_(mean)
        self.matrix.copy_(scaled @ axes.T)


def statistics(given: str | list[list[float]], pretrained: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the channels, float (3,): those that are given, else those of the weights.

    Args:
        given: `backbone.normalization`.
        pretrained: timm's `pretrained_cfg` of the network.

    Raises:
        InputError: It is a list, but not of the two.
    """
    if isinstance(given, str):
        return torch.tensor(pretrained["mean"]), torch.tensor(pretrained["std"])
    if [len(row) for row in given] != [3, 3] or min(given[1]) <= 0:
        raise InputError(
            f"backbone.normalization: {given} is not two lists of three numbers, the means of the channels in 0..1 "
            "and their standard deviations above 0."
        )
    mean, std = torch.tensor(given, dtype=torch.float32)
    return mean, std


def _channels(images: Tensor, number: int) -> Tensor:
    if number == 1:
        return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return images
