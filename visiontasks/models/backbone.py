"""Backbone: a timm network with its own normalization that computes features."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, Self, final

import torch
from lightning.pytorch.utilities import rank_zero_info
from timm.models import group_parameters
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Size, height_width
from visiontasks.core.serialize import Configurable
from visiontasks.models.dry_run import dry_run, parts_of
from visiontasks.models.network import BUNDLED, create_network
from visiontasks.models.normalization import Normalizer, Whitening, statistics

STRIDES = (1, 2, 4, 8, 16, 32)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # timm's are subclasses


@final
class Backbone(Configurable, nn.Module):
    """Any timm network without its classifier: takes uint8 images, returns a pyramid of feature maps.

    Args:
        name: Name of the network in timm, with an optional tag: `resnet50`, `vit_base_patch16_224.dino`.
        pretrained: `true` loads timm's weights from its hub, `bundled` the ImageNet weights of `tf_efficientnet_lite0`
            that are installed with this package, a path loads a file of weights of this network (.safetensors or
            .pth), `false` starts with random weights.
        normalization: Mean and standard deviation that the pretrained weights expect (`pretrained`), those of the
            training set (`dataset`), or two lists of three numbers, one per channel, 0..1; `zca` whitens the pixels of
            small images with the statistics of the training set.
        batch_norm: In training, let batch norm use and update the statistics of the batch (`train`) or keep the
            pretrained ones (`eval`); `auto` is `eval` for pretrained weights, else `train`.
        in_channels: 3, or 1 for a network that takes gray images.
        output_stride: 8 or 16: later stages keep the resolution of this stride and use dilated convolutions (Chen et
            al. 2018, section 3.1), if timm's network supports it.
        top: Keep the network's own classifier: its logits (B, classes, 1, 1) are then the final and only feature map.

    Attributes:
        channels: Channels of each feature map that `forward` returns: of strides 1, 2, 4 ... 32, and the final one.
    """

    def __init__(
        self,
        name: str = BUNDLED,
        pretrained: bool | str = True,
        normalization: Literal["pretrained", "dataset", "zca"] | list[list[float]] = "pretrained",
        batch_norm: Literal["auto", "eval", "train"] = "auto",
        in_channels: Literal[1, 3] = 3,
        output_stride: Literal[8, 16] | None = None,
        top: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.normalization, self.in_channels, self.top = name, normalization, in_channels, top
        self.keeps_batch_norm = batch_norm == "eval" or (batch_norm == "auto" and pretrained is not False)
        self.net = create_network(name, pretrained, in_channels, output_stride, top)
        self.normalizer = Whitening(in_channels) if normalization == "zca" else Normalizer(in_channels)
        if isinstance(self.normalizer, Normalizer):
            self.normalizer.set_statistics(*statistics(normalization, self.net.pretrained_cfg))
        stages = [] if top else self.net.feature_info
        self._places = {stage["reduction"]: number for number, stage in enumerate(stages)}
        widths = {stage["reduction"]: stage["num_chs"] for stage in stages}
        pyramid = [widths.get(stride, in_channels if stride == 1 else 0) for stride in STRIDES]
        self.channels: list[int] = [*pyramid, self.net.num_classes if top else self.net.num_features]
        self.size: tuple[int, ...] = tuple(self.net.pretrained_cfg["input_size"][-2:])
        self.removed: tuple[str, ...] = ()
        self.register_load_state_dict_pre_hook(_forget_removed)
        self.train()  # not the mode that timm left: Lightning trains modules in the mode in which it finds them

    def forward(self, images: Tensor, pyramid: bool = False) -> list[Tensor]:
        """Computes the features of a batch.

        Args:
            images: uint8 (B, 3, H, W), RGB; or float (B, in_channels, H, W), already normalized by `normalize`.
            pyramid: Return the intermediate maps too.

        Returns:
            Float feature maps (B, C, h, w); the last one is the final map of the network. With `pyramid` there are six
            before it, of strides 1, 2, 4, 8, 16 and 32: the deepest map of the network with that stride. If the
            network has none, it is the normalized images for stride 1, else a map without channels.
        """
        if not images.is_floating_point():
            images = self.normalize(images)
        try:
            if self.top:
                final, maps = self.net(images)[..., None, None], []
            else:
                final, maps = self.net.forward_intermediates(images, indices=None if pyramid else 1)
        except AssertionError as error:  # raised by networks of a fixed size, timm's and ours
            raise self._misfit(images.shape[-2:], error) from error
        except RuntimeError as error:
            if not any(part in str(error) for part in ("Output size is too small", "greater than actual input size")):
                raise
            height, width = images.shape[-2:]
            raise InputError(
                f"backbone: nothing is left of {height} x {width} pixels on the way through {self.name}: its kernels, "
                "poolings and strides are too large for them. Increase data.image_size, or use another network."
            ) from error
        if final.ndim == 3:  # a transformer: class and register tokens come first
            height, width = maps[-1].shape[-2:]
            final = final[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))
        elif not self.top and getattr(self.net, "output_fmt", "NCHW") == "NHWC":
            final = final.permute(0, 3, 1, 2)
        return [*(self._level(stride, images, maps) for stride in STRIDES if pyramid), final]

    def _level(self, stride: int, images: Tensor, maps: list[Tensor]) -> Tensor:
        if stride in self._places:
            return maps[self._places[stride]]
        height, width = ((side + stride - 1) // stride for side in images.shape[-2:])
        return images if stride == 1 else images.new_empty(len(images), 0, height, width)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalizes uint8 images (B, 3, H, W) as the network expects them: float (B, in_channels, H, W)."""
        return self.normalizer(images.to(self.normalizer.mean.dtype, memory_format=torch.channels_last) / 255)

    def set_image_size(self, size: Size) -> None:
        """Sets the image size in pixels, which networks with a fixed input size and whitening need, tries the network
        with it, and removes the parts that its maps do not use.

        Raises:
            InputError: The network does not work with images of this size.
        """
        height, width = height_width(size)
        if isinstance(self.normalizer, Whitening):
            self.normalizer.set_image_size(size)
        try:
            if hasattr(self.net, "set_input_size"):
                self.net.set_input_size(img_size=(height, width))
            unused = dry_run(self, height, width)
        except InputError:
            raise
        except Exception as error:  # whatever its layers raise
            raise self._misfit((height, width), error) from error
        self.size = height, width
        if parts := list(parts_of(self.net, unused)):
            for part in parts:
                self.net.set_submodule(part, nn.Identity())
            rank_zero_info(f"backbone: {self.name} without {', '.join(parts)}, which its feature maps do not use.")
            self.removed += tuple(f"net.{part}." for part in parts)

    def _misfit(self, size: Sequence[int], error: Exception) -> InputError:
        """Makes an error that names a size with which the network works, if one is known."""
        fix = "Use another network."
        if tuple(size) != self.size:
            with suppress(Exception):
                dry_run(self, *self.size)
                height, width = self.size
                fix = f"It works with {height} x {width}: set data.image_size to that and remove train_size and tiles."
        why = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        return InputError(
            f"backbone: {self.name} does not work with images of {size[0]} x {size[1]} pixels ({why}). {fix}"
        )

    def stages(self) -> list[list[nn.Parameter]]:
        """Returns the parameters of each stage, from the stem to the last block, as timm divides them."""
        groups = group_parameters(self.net, self.net.group_matcher(coarse=True))
        return [[self.net.get_parameter(name) for name in groups[key]] for key in sorted(groups)]

    def freeze(self) -> None:
        """Freezes all stages: no gradients, no dropout, and norm layers keep their statistics."""
        self.unfreeze(0)

    def unfreeze(self, stages: int | None = None) -> None:
        """Trains the last `stages` stages (default: all) and freezes the others."""
        groups = self.stages()
        first = 0 if stages is None else max(0, len(groups) - stages)
        for number, group in enumerate(groups):
            for parameter in group:
                parameter.requires_grad_(number >= first)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode as `nn.Module.train` does, but keeps frozen modules in eval mode."""
        super().train(mode)
        for module in self.net.modules() if mode else ():
            parameters = list(module.parameters())
            frozen = parameters and not any(parameter.requires_grad for parameter in parameters)
            if frozen or (self.keeps_batch_norm and isinstance(module, BATCH_NORMS)):
                module.eval()
        return self


def _forget_removed(backbone: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Drops the weights of removed parts from a checkpoint that still has them."""
    for name in [name for name in state if name.removeprefix(prefix).startswith(backbone.removed)]:
        del state[name]
