"""What prediction needs of a model, whatever runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Resize, height_width
from visiontasks.core.serialize import Trusted
from visiontasks.predict.answers import Answers

SUFFIXES = (".onnx", ".pt2")
SPEC = "visiontasks"  # where an exported file keeps its description, as JSON


class Network(Protocol):
    """A trained model that answers pictures.

    Attributes:
        spec: `class_names`, `mask_names`, `image_size` and `resize`.
        keys: What it answers, of `label`, `bbox` and `mask`.
        any_size: Whether a picture may be of another size than `image_size`.
        resizes: Whether it brings images of any size to `image_size` itself.
    """

    spec: dict[str, Any]
    keys: tuple[str, ...]
    any_size: bool
    resizes: bool

    def __call__(self, images: np.ndarray) -> Answers:
        """Answers pictures, uint8 (B, 3, H, W), RGB."""
        ...


def open_network(
    model: str, trust: bool | Trusted = False, device: str = "auto", pretrained: bool | str | None = None
) -> Network:
    """Opens a checkpoint or an exported file by its suffix, an ONNX file without importing torch; or a network of timm.

    Args:
        model: A checkpoint, an `.onnx` or a `.pt2` file; or timm's name of a network, with its own classes.
        trust: Whether a `.pt2` file may be opened: reading one can run code that is in it. Or modules of your own, or
            classes, that a checkpoint may name.
        device: Of a checkpoint or a `.pt2` file: `cpu`, `cuda`, `cuda:1` ...; `auto` is a GPU if there is one.
        pretrained: Of a network that is named: `true` (as if not given) takes timm's weights from its hub, `bundled`
            those that are installed with this package (of `tf_efficientnet_lite0`), a path a file of weights,
            classifier and all.

    Raises:
        InputError: It is none of these, or cannot be used.
    """
    suffix = Path(model).suffix.lower()
    is_path = suffix in (".ckpt", *SUFFIXES) or "/" in model or Path(model).is_file()
    if is_path and pretrained is not None:
        raise InputError(f"--pretrained {pretrained}: {model} has its weights. Leave it out.")
    if suffix == ".onnx":
        if device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: an ONNX file is run on the CPU here. Leave it out.")
        from visiontasks.predict.onnx_network import OnnxNetwork

        return OnnxNetwork(model)
    from visiontasks.predict import torch_network

    if not is_path:
        return torch_network.TorchNetwork.from_pretrained(model, True if pretrained is None else pretrained, device)
    if suffix != ".pt2":
        return torch_network.TorchNetwork.from_checkpoint(model, device, () if isinstance(trust, bool) else trust)
    if trust is not True:
        raise InputError(
            f"{model}: reading a .pt2 file can run code that is in it. If you made it, say `--trust` "
            "(`trust=True` in Python); else ask for the .onnx file."
        )
    return torch_network.ExportedNetwork(model, device)


def read_description(text: str | None, path: str) -> dict[str, Any]:
    """Reads what an exported file says of itself; see `describe_graph`.

    Raises:
        InputError: It says nothing, or not what `export` writes.
    """
    try:
        described = json.loads(text or "")
        spec, keys = described["spec"], described["keys"]
        sound = (
            all(isinstance(name, str) for name in [*spec["class_names"], *spec["mask_names"]])
            and all(isinstance(side, int) and side > 0 for side in height_width(spec["image_size"]))
            and spec["resize"] in get_args(Resize)
            and 0 < spec.get("crop_share", 1.0) <= 1
            and keys
            and {*keys} <= {"label", "bbox", "mask"}
            and {described["any_size"], described["resizes"]} <= {True, False}
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        sound, described = False, {}
    if not sound:
        raise InputError(
            f"{path}: not exported by visiontasks ({SPEC!r} is not in its metadata, or not as it should be)."
        )
    return described
