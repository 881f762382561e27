"""Compares the predictions of an exported file with those of its checkpoint on real images."""

from collections.abc import Iterable, Sized
from dataclasses import dataclass, field

from visiontasks.core.progress import track
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.targets import find_target


@dataclass
class Parity:
    """Agreement of two models on a set of images.

    Attributes:
        images: Number of images.
        differences: Largest difference over all images, by name; see `Target.compare`.
        disagreements: Differences beyond their limit, one text per image and difference.
    """

    images: int = 0
    differences: dict[str, float] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every difference is within its limit."""
        return not self.disagreements


def compare(checkpoint: Predictor, exported: Predictor, sources: Iterable[Source], batch_size: int = 32) -> Parity:
    """Predicts real images with a checkpoint and an exported file, and compares the predictions."""
    parity = Parity()
    total = len(sources) if isinstance(sources, Sized) else None
    pairs = zip(checkpoint.stream(sources, batch_size), exported.stream(sources, batch_size), strict=True)
    for (source, expected), (_, found) in track(pairs, "Comparing", total):
        parity.images += 1
        for key in checkpoint.network.keys:
            for name, value, limit in find_target(key).compare(expected, found):
                parity.differences[name] = max(value, parity.differences.get(name, 0.0))
                if not value <= limit:
                    parity.disagreements.append(f"{source.name}: {name} differs by {value:.3g}, limit {limit:.3g}")
    return parity
