"""Fine-tune pretrained backbones on your own images: classification, localization, segmentation."""

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visiontasks.predict import Predictor


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # takes half of the time of `visiontasks --help`

    return version(__name__)


def load(
    model: str,
    trust: bool | Sequence[ModuleType | type] = False,
    device: str = "auto",
    pretrained: bool | str | None = None,
    threshold: float | None = None,
) -> "Predictor":
    """Opens a trained checkpoint, an exported file or a pretrained network for prediction.

    Args:
        model: A `best.ckpt`, `last.ckpt`, `.onnx` or `.pt2` file, or timm's name of a network with its own classes.
        trust: Whether a `.pt2` file may be opened, which can run code that it contains; or your own modules or classes
            that a checkpoint may name (a checkpoint itself imports nothing).
        device: `cpu`, `cuda`, `cuda:1` ...; `auto` uses a GPU if there is one.
        pretrained: Weights of a network given by name: `true`, `bundled` or a path; see
            `visiontasks.predict.networks.open_network`.
        threshold: For labels and objects: the score from which on a class is predicted, 0..1; by default the thresholds
            of the model.
    """
    from visiontasks.predict import Predictor  # imports numpy and OpenCV, which take a while

    return Predictor.open(model, trust, device, pretrained, threshold)
