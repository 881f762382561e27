"""Decoders of segmentation-models-pytorch."""

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
    """A decoder of segmentation-models-pytorch, with its default widths, on any backbone with a pyramid.

    It differs from SMP's models in `coarse` and in batch norm on the maps of the backbone, which brings them to one
    scale: in networks with linear bottlenecks they differ tenfold, and the fine maps would dominate the coarse ones.
    `DeepLabV3Plus` reads the deepest map at stride 16: set `output_stride: 16` in the backbone.

    Args:
        decoder: `Unet`, `UnetPlusPlus` (Zhou et al. 2018), `FPN` (Kirillov et al. 2019), `DeepLabV3Plus` (Chen et
            al. 2018) or `Segformer` (Xie et al. 2021).
        width: Factor on the channels of the decoder.
        coarse: Add class scores of the final map of the backbone to the logits, as in FCN-32s (Long et al. 2015,
            section 4.2), because ten new layers alone learn the classes slowly.
        loss: Loss of classes.

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
            fix = "set the backbone's `output_stride: 16`" if dilated else "remove `output_stride`"
            message = f"SMPHead: {decoder} reads maps of strides {strides}; the backbone has {found}."
            raise InputError(f"{message} Take a network with a pyramid, and {fix}.")
        self.levels = needed if decoder in ("FPN", "DeepLabV3Plus") else known  # the ones that the decoder reads
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
    """Returns the decoder, its output channels and the kernel size of the last convolution, as in SMP's models."""
    channels = list(channels)
    widths = [max(1, round(width * count)) for count in (256, 128, 64, 32, 16)]
    make = smp_decoder(name)  # called only when needed, because it imports torchvision
    match name:
        case "Unet" | "UnetPlusPlus":
            decoder, outputs = make(channels, widths), widths[-1]
        case "FPN":
            decoder, outputs = make(channels, pyramid_channels=widths[0], segmentation_channels=widths[1]), widths[1]
        case "DeepLabV3Plus":
            decoder, outputs = make(channels, 4, widths[0], (12, 24, 36), 16, True, 0.5), widths[0]
        case _:
            decoder, outputs = make(channels, segmentation_channels=widths[0]), widths[0]
    initialize_smp_decoder(decoder)
    return decoder, outputs, 3 if name.startswith("Unet") else 1
