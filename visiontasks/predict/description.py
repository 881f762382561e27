"""The interface between prediction and the backends that run a model."""

import json
from typing import Any, Protocol, get_args

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Resize, height_width
from visiontasks.targets import target_kinds
from visiontasks.targets.sample import Outputs

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


def read_description(text: str | None, path: str) -> dict[str, Any]:
    """Reads the description in an exported file; see `describe_graph`.

    Raises:
        InputError: The description is missing, or not as `export` writes it.
    """
    try:
        described = json.loads(text or "")
        spec, keys, kinds = described["spec"], described["keys"], target_kinds()
        sound = (
            all(isinstance(name, str) for kind in kinds.values() for name in spec.get(kind.names_key, []))
            and all(isinstance(side, int) and side > 0 for side in height_width(spec["image_size"]))
            and spec["resize"] in get_args(Resize)
            and 0 < spec.get("crop_share", 1.0) <= 1
            and keys
            and {*keys} <= kinds.keys()
            and {described["any_size"], described["resizes"]} <= {True, False}
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        sound, described = False, {}
    if not sound:
        raise InputError(f"{path}: not exported by visiontasks ({SPEC!r} is missing in its metadata, or invalid).")
    return described
