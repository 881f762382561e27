"""Thresholds of a user in place of those of a model."""

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.predict.networks import Network
from visiontasks.targets import find_target
from visiontasks.targets.sample import Outputs


class Thresholded:
    """A network whose classes are all predicted from one score on; see `Network`.

    Raises:
        InputError: The model has no thresholds, or this one is not in 0..1.
    """

    def __init__(self, network: Network, threshold: float) -> None:
        self.network, self.threshold = network, threshold
        self.spec, self.keys = network.spec, network.keys
        self.any_size, self.resizes = network.any_size, network.resizes
        if not any(find_target(key).decides for key in self.keys):
            keys = ", ".join(self.keys)
            raise InputError(f"threshold={threshold}: the model predicts {keys}, without thresholds. Leave it out.")
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold={threshold}: expected a score, 0 to 1.")

    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the post-processed outputs of pictures, uint8 (B, 3, H, W), RGB."""
        return {key: self._replaced(key, output) for key, output in self.network(images).items()}

    def _replaced(self, key: str, output: np.ndarray) -> np.ndarray:
        kind = find_target(key)
        return kind.at_threshold(output, self.threshold) if kind.decides else output
