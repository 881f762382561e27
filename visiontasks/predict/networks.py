"""Opens a model by what it is: a checkpoint, an exported file or a pretrained network."""

from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted
from visiontasks.predict.description import Network

SUFFIXES = (".onnx", ".pt2")


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
