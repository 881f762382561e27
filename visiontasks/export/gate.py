"""Whether an exported file answers as its checkpoint does, on real images, from pixels to predictions."""

from collections.abc import Iterable, Sized
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.progress import track

from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.targets import find_target


@dataclass
class Parity:
    """How two models agree over a set of images.

    Attributes:
        images: How many were compared.
        differences: The largest difference of any image by its name; see `Target.compare`.
        disagreements: What is beyond its limit, one text per image and difference.
    """

    images: int = 0
    differences: dict[str, float] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every difference is within its limit."""
        return not self.disagreements

    def as_dict(self) -> dict[str, Any]:
        """Returns the same as plain data."""
        return {**asdict(self), "holds": self.holds}


def compare(checkpoint: Predictor, exported: Predictor, sources: Iterable[Source], batch_size: int = 32) -> Parity:
    """Predicts images with both and compares the predictions.

    Args:
        checkpoint: The reference.
        exported: What is compared with it.
        sources: Real images; both models read them.
        batch_size: Images at a time.
    """
    parity = Parity()
    total = len(sources) if isinstance(sources, Sized) else None
    pairs = zip(checkpoint.stream(sources, batch_size), exported.stream(sources, batch_size), strict=True)
    for (source, expected), (_, found) in track(pairs, "Comparing", total, transient=True):
        parity.images += 1
        for key in checkpoint.network.keys:
            for name, value, limit in find_target(key).compare(expected, found):
                parity.differences[name] = max(value, parity.differences.get(name, 0.0))
                if not value <= limit:
                    parity.disagreements.append(f"{source.name}: {name} differs by {value:.3g}, limit {limit:.3g}")
    return parity
