"""Feature maps and filters of a layer."""

from collections.abc import Sequence
from difflib import get_close_matches
from math import ceil

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from visiontasks.core.draw import grid
from visiontasks.core.errors import InputError
from visiontasks.tasks import VisionTask

LEAST_SIDE = 64  # minimum pixels of a map or filter in a picture
LAYERS = ("backbone.", "heads.")  # prefixes in a task; other modules are metrics
MOST = 64  # maximum number of units, or inputs of a filter, in a picture


def find_layer(model: nn.Module, name: str | None) -> tuple[str, nn.Module]:
    """Finds a layer by its name or a unique end of its name; without a name, the first convolution.

    Raises:
        InputError: No layer or more than one layer has this name.
    """
    own = LAYERS if isinstance(model, VisionTask) else ""
    named = {key: part for key, part in model.named_modules() if key and key.startswith(own)}
    if name is None:
        found = [key for key, part in named.items() if isinstance(part, nn.Conv2d)][:1]
    else:
        found = [key for key in named if key == name] or [key for key in named if key.endswith(f".{name}")]
    if len(found) == 1:
        return found[0], named[found[0]]
    if found:
        raise InputError(f"--layer {name}: several layers match: {', '.join(found[:3])} ... Give more of the name.")
    close = get_close_matches(name or "", named, 1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InputError(f"--layer {name}: the model has no such layer; `inspect layers` lists them.{hint}")


def features(model: nn.Module, images: Tensor, layer: str | None = None) -> Tensor:
    """Computes the output of a layer.

    Args:
        model: A task or backbone; left in eval mode.
        images: uint8 (B, 3, H, W).
        layer: Name of the layer; by default the first convolution.

    Returns:
        Float, (B, C, h, w) if the layer has maps.

    Raises:
        InputError: There is no such layer, or the model does not call it.
    """
    name, module = find_layer(model, layer)
    kept: list[Tensor] = []
    with torch.no_grad(), module.register_forward_hook(lambda module, args, output: kept.append(output)):
        model.eval()(images)
    if not kept:
        raise InputError(f"--layer {name}: the model does not call it. `inspect layers` lists those that it calls.")
    return kept[0]


def filters(model: nn.Module, layer: str | None = None) -> Tensor:
    """Returns the weights of a convolution, by default the first one: float (outputs, inputs of its group, kh, kw).

    Raises:
        InputError: There is no such layer, or it is not a convolution.
    """
    name, module = find_layer(model, layer)
    if not isinstance(module, nn.Conv2d):
        kind = type(module).__name__
        raise InputError(f"--layer {name}: {kind} has no filters. Choose a convolution; `inspect layers` lists them.")
    return module.weight.detach()


def draw_maps(maps: Tensor) -> np.ndarray:
    """Draws maps (C, h, w) side by side in gray, each from its minimum to its maximum; uint8 (H, W, 3)."""
    values = maps[:MOST].float().cpu().numpy()
    low, high = values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)
    return _sheet([*((values - low) / np.maximum(high - low, 1e-12) * 255).round().astype(np.uint8)])


def draw_filters(weights: Tensor) -> np.ndarray:
    """Draws filters (outputs, inputs, kh, kw): those of three inputs in color, others with one row per output.

    Gray stands for 0, and each filter is scaled by its largest absolute weight.
    """
    values = weights[:MOST].float().cpu().numpy()
    values = values / np.abs(values).max(axis=(1, 2, 3), keepdims=True).clip(1e-12)
    pictures = ((values + 1) * 127.5).round().astype(np.uint8)
    if pictures.shape[1] == 3:
        return _sheet(list(pictures.transpose(0, 2, 3, 1)))
    shown = pictures[:, :MOST]
    return _sheet([part for row in shown for part in row], columns=shown.shape[1] if shown.shape[1] > 1 else None)


def _sheet(pictures: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Draws a grid of pictures, enlarged by a whole number."""
    times = ceil(LEAST_SIDE / max(pictures[0].shape[:2]))
    size = (pictures[0].shape[1] * times, pictures[0].shape[0] * times)
    images = [Image.fromarray(picture).convert("RGB") for picture in pictures]
    large = [np.asarray(image.resize(size, Image.Resampling.NEAREST)) for image in images]
    return grid(large, columns or ceil(len(large) ** 0.5))
