"""What prediction needs to know of a model, whatever runs it."""

import json
from typing import Any, Protocol, get_args

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Resize, height_width
from visiontasks.targets import target_kinds
from visiontasks.targets.sample import Outputs

SPEC = "visiontasks"  # where an exported file keeps its description, as JSON


class Network(Protocol):
    """A trained model that answers pictures.

    Attributes:
        spec: Names of the classes, `image_size` and `resize`.
        keys: Keys of the targets that it answers.
        any_size: Whether a picture may be of another size than `image_size`.
        resizes: Whether it resizes images of any size to `image_size` itself.
    """

    spec: dict[str, Any]
    keys: tuple[str, ...]
    any_size: bool
    resizes: bool

    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the post-processed outputs of pictures, uint8 (B, 3, H, W), RGB."""
        ...


def read_description(text: str | None, path: str) -> dict[str, Any]:
    """Reads what an exported file says of itself; see `describe_graph`.

    Raises:
        InputError: It says nothing, or something else than `export` writes.
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
        raise InputError(
            f"{path}: not exported by visiontasks (no {SPEC!r} in its metadata, or not as export writes it)."
        )
    return described
