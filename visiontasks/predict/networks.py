"""The interface of trained models, and the opening of checkpoints, exported files and pretrained networks."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted
from visiontasks.targets import target_kinds
from visiontasks.targets.sample import Outputs, is_spec

SPEC = "visiontasks"  # key of the JSON description in an exported file


class Network(Protocol):
    """A trained model that computes outputs from pictures.

    Attributes:
        spec: Names of the classes, `image_size` and `resize`.
        keys: Keys of the predicted targets.
        any_size: Whether a picture may have another size than `image_size`.
        resizes: Whether the model itself resizes images of any size to `image_size`.
    """

    spec: dict[str, Any]
    keys: tuple[str, ...]
    any_size: bool
    resizes: bool

    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the post-processed outputs of pictures, uint8 (B, 3, H, W), RGB."""
        ...


def read_description(text: str | None, path: str) -> tuple[dict[str, Any], tuple[str, ...], bool, bool]:
    """Reads the attributes of a `Network`, in their order, from the description in its file; see `describe_graph`.

    Raises:
        InputError: The description is missing, or not as `export` writes it.
    """
    try:
        described = json.loads(text or "")
        spec, keys, kinds = described["spec"], described["keys"], target_kinds()
        sound = (
            is_spec(spec)
            and keys
            and {*keys} <= kinds.keys()
            and {described["any_size"], described["resizes"]} <= {True, False}
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise InputError(f"{path}: not exported by visiontasks ({SPEC!r} is missing in its metadata, or invalid).")
    return spec, tuple(keys), described["any_size"], described["resizes"]


def is_name(model: str) -> bool:
    """Returns whether a model is given by the name of a timm network, not by a path."""
    path = Path(model)
    return path.suffix.lower() not in (".ckpt", ".onnx", ".pt2") and "/" not in model and not path.exists()


def open_network(
    model: str, trust: bool | Trusted = False, device: str = "auto", pretrained: bool | str | None = None
) -> Network:
    """Opens a checkpoint or exported file by its suffix (an ONNX file without importing torch), or a timm network.

    Args:
        model: A checkpoint, an `.onnx` or a `.pt2` file, or the name of a timm network, with its own classes.
        trust: Whether a `.pt2` file may be opened, because reading one can run code that is in it; or your own modules
            or classes that a checkpoint may name.
        device: Device of a checkpoint or `.pt2` file: `cpu`, `cuda`, `cuda:1` ...; `auto` is a GPU if there is one.
        pretrained: Weights of a timm network: `true` (the default) for those of the timm hub, `bundled` for those
            installed with this package (`tf_efficientnet_lite0` only), or a path of a file, with the classifier.

    Raises:
        InputError: The model is none of these, or cannot be used.
    """
    suffix = Path(model).suffix.lower()
    if not is_name(model) and pretrained is not None:
        raise InputError(f"--pretrained {pretrained}: {model} already has weights. Leave it out.")
    if suffix == ".onnx":
        if device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: an ONNX file runs on the CPU here. Leave it out.")
        from visiontasks.predict.onnx_network import OnnxNetwork

        return OnnxNetwork(model)
    if suffix == ".pt2" and trust is not True:
        raise InputError(
            f"{model}: reading a .pt2 file can run code that is in it. If you made it, pass `--trust` "
            "(`trust=True` in Python); otherwise ask for the .onnx file."
        )
    from visiontasks.predict.torch_network import ExportedNetwork, TorchNetwork
    from visiontasks.tasks.restore import pretrained_task, restore_task

    if is_name(model):
        return TorchNetwork(pretrained_task(model, True if pretrained is None else pretrained), device)
    if suffix != ".pt2":
        return TorchNetwork(restore_task(model, () if isinstance(trust, bool) else trust), device)
    return ExportedNetwork(model, device)
