"""Opens a checkpoint, an exported file or a pretrained network."""

from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted
from visiontasks.predict.description import Network

SUFFIXES = (".onnx", ".pt2")


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
    is_path = suffix in (".ckpt", *SUFFIXES) or "/" in model or Path(model).is_file()
    if is_path and pretrained is not None:
        raise InputError(f"--pretrained {pretrained}: {model} already has weights. Leave it out.")
    if suffix == ".onnx":
        if device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: an ONNX file runs on the CPU here. Leave it out.")
        from visiontasks.predict.onnx_network import OnnxNetwork

        return OnnxNetwork(model)
    from visiontasks.predict.torch_network import ExportedNetwork, TorchNetwork

    if not is_path:
        return TorchNetwork.from_pretrained(model, True if pretrained is None else pretrained, device)
    if suffix != ".pt2":
        return TorchNetwork.from_checkpoint(model, device, () if isinstance(trust, bool) else trust)
    if trust is not True:
        raise InputError(
            f"{model}: reading a .pt2 file can run code that is in it. If you made it, pass `--trust` "
            "(`trust=True` in Python); otherwise ask for the .onnx file."
        )
    return ExportedNetwork(model, device)
