"""The decoders of segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.core.compat import initialize_smp_decoder, smp_decoder
from visiontasks.core.errors import InputError
from visiontasks.losses import CrossEntropy, Loss
from visiontasks.models.heads.mask import MaskHead, levels

Decoder = Literal["Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "Segformer"]


class SMPHead(MaskHead):
    """A decoder of segmentation-models-pytorch, as wide as there by default, on any backbone with a pyramid.

    Two things are not in SMP's models: batch norm brings the backbone's maps to one scale (those of networks with
    linear bottlenecks differ tenfold, and the coarse ones would be lost beside the fine ones), and `coarse`.

    `DeepLabV3Plus` reads the deepest map at stride 16: give the backbone `output_stride: 16`.

    Args:
        channels: Channels of each feature map.
        num_classes: Number of classes.
        decoder: `Unet`, `UnetPlusPlus` (Zhou et al. 2018), `FPN` (Kirillov et al. 2019), `DeepLabV3Plus` (Chen et
            al. 2018) or `Segformer` (Xie et al. 2021).
        width: Factor on the channels of the decoder.
        coarse: Add class scores of the backbone's final map to the decoder's logits, as FCN-32s has them (Long et al.
            2015, section 4.2): through ten new layers alone the classes take long to be learnt.
        loss: Logits against masks.

    Raises:
        InputError: The backbone has no map of a stride that the decoder reads.
    """

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        decoder: Decoder = "Unet",
        width: float = 1.0,
        coarse: bool = True,
        loss: Loss = CrossEntropy(),
    ) -> None:
        super().__init__(num_classes, loss)
        known = levels(channels)
        dilated = decoder == "DeepLabV3Plus"
        needed = [2, 4] if dilated else [2, 3, 4, 5]
        if not set(needed) <= set(known) or known[-1] != needed[-1]:
            strides, found = (", ".join(str(2**level) for level in some) for some in (needed, known))
            mend = "Take a network with a pyramid, and no `output_stride`."
            if dilated:
                mend = "Take a network with a pyramid, and set the backbone's `output_stride: 16`."
            raise InputError(f"SMPHead: {decoder} reads maps of strides {strides}; the backbone has {found}. {mend}")
        self.levels = needed if decoder in ("FPN", "DeepLabV3Plus") else known  # what it reads
        self.depth = needed[-1]
        self.decoder, inputs, kernel = _make(decoder, channels[: self.depth + 1], width)
        self.classifier = nn.Conv2d(inputs, num_classes, kernel, padding=kernel // 2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels[level]) for level in self.levels)
        self.coarse = nn.Conv2d(channels[-1], num_classes, 1) if coarse else None

    def decode(self, features: list[Tensor]) -> Tensor:
        maps = features[: self.depth + 1]
        for level, norm in zip(self.levels, self.norms, strict=True):
            maps[level] = norm(maps[level])
        logits = self.classifier(self.decoder(maps))
        if self.coarse is None:
            return logits
        scores = self.coarse(features[-1])
        return logits + F.interpolate(scores, logits.shape[-2:], mode="bilinear", align_corners=False)


def _make(name: str, channels: Sequence[int], width: float) -> tuple[nn.Module, int, int]:
    """The decoder, its output channels and the size of the last convolution: as SMP's models of these names."""
    channels = list(channels)
    wide = [max(1, round(width * count)) for count in (256, 128, 64, 32, 16)]
    make = smp_decoder(name)  # not before it is used: it imports torchvision
    match name:
        case "Unet" | "UnetPlusPlus":
            decoder, outputs, kernel = make(channels, wide), wide[-1], 3
        case "FPN":
            decoder = make(channels, pyramid_channels=wide[0], segmentation_channels=wide[1])
            outputs, kernel = wide[1], 1
        case "DeepLabV3Plus":
            decoder = make(channels, 4, wide[0], (12, 24, 36), 16, True, 0.5)
            outputs, kernel = wide[0], 1
        case _:
            decoder, outputs, kernel = make(channels, segmentation_channels=wide[0]), wide[0], 1
    initialize_smp_decoder(decoder)
    return decoder, outputs, kernel
