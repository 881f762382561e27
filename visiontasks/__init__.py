"""Fine-tune pretrained backbones on your own images: classification, localization, segmentation."""

from collections.abc import Sequence
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visiontasks.predict import Predictor

__version__ = metadata.version("visiontasks")


def load(
    model: str,
    trust: bool | Sequence[ModuleType | type] = False,
    device: str = "auto",
    pretrained: bool | str | None = None,
) -> "Predictor":
    """Opens a trained checkpoint, a file that `export` wrote, or a pretrained network, for prediction.

    Args:
        model: `best.ckpt`, `last.ckpt`, an `.onnx` or a `.pt2` file; or timm's name of a network, with its own classes.
        trust: Whether a `.pt2` file may be opened: reading one can run code that is in it. Or modules of your own, or
            classes, that a checkpoint may name: a checkpoint itself imports nothing.
        device: `cpu`, `cuda`, `cuda:1` ...; `auto` is a GPU if there is one.
        pretrained: Weights of a network that is named: `true`, `bundled` or a path; see
            `visiontasks.predict.networks.open_network`.

    Returns:
        See `visiontasks.predict.Predictor`.
    """
    from visiontasks.predict import Predictor  # numpy and OpenCV take a while to import: only when asked for

    return Predictor.open(model, trust, device, pretrained)
