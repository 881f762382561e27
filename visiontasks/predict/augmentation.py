"""Test-time augmentation: averages the outputs of a network over several views of each picture."""

from collections.abc import Sequence
from itertools import chain, product

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.predict.networks import Network
from visiontasks.targets import find_target
from visiontasks.targets.sample import Outputs

FLIPS = {"hflip": -1, "vflip": -2}  # the axis of (B, 3, H, W)


class TestTimeAugmentation:
    """A network that also sees each picture flipped and at other scales.

    The views are all combinations of the given flips and scales, including none. The output is the mean over the views;
    see `Target.merge`.

    Args:
        network: The network.
        names: Any of `hflip`, `vflip`, and factors on height and width such as `1.25`, in 0.1..10.

    Raises:
        InputError: A name is unknown, or the network takes pictures of one size only.
    """

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        self.network, self.spec, self.keys, self.any_size = network, network.spec, network.keys, network.any_size
        try:
            scales = [float(name) for name in names if name not in FLIPS]
        except ValueError:
            scales = [0.0]
        if any(not 0.1 <= scale <= 10 for scale in scales):
            raise InputError(f"tta: {' '.join(names)}: expected {', '.join(FLIPS)} and scales such as 0.75 or 1.25.")
        if scales and not network.any_size:
            raise InputError("tta: this model takes pictures of one size; leave the scales out.")
        flips = [((), (FLIPS[name],)) for name in dict.fromkeys(names) if name in FLIPS]
        axes = [tuple(chain(*chosen)) for chosen in product(*flips)]
        self.views = list(product(dict.fromkeys([1.0, *scales]), axes))

    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the averaged outputs of pictures, uint8 (B, 3, H, W)."""
        outputs = [self.network(_view(images, scale, axes)) for scale, axes in self.views]
        flips = [axes for _, axes in self.views]
        return {key: find_target(key).merge([output[key] for output in outputs], flips) for key in self.keys}


def _view(images: np.ndarray, scale: float, axes: tuple[int, ...]) -> np.ndarray:
    if scale != 1:
        height, width = (max(1, round(side * scale)) for side in images.shape[-2:])
        mode = cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR
        resized = [cv2.resize(image.transpose(1, 2, 0), (width, height), interpolation=mode) for image in images]
        images = np.stack(resized).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(np.flip(images, axes) if axes else images)
