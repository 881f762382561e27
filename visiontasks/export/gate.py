"""Whether an exported file answers as its checkpoint does, on real images, from pixels to the last label."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.progress import track

from visiontasks.core.sample import Sample
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source

PIXELS = 0.5  # a corner of a box may move by so much
MASKS = 0.9999  # the share of the pixels whose class must be the same
SCORES = 0.01  # a probability may differ by so much: other pixels than the checkpoint's move it more


@dataclass
class Parity:
    """How two models agree over a set of images.

    Attributes:
        images: How many were compared.
        labels_equal: How many have the same label; None where there is none.
        largest_score_difference: Of any probability.
        largest_box_difference: Of any corner in pixels of the image.
        equal_pixels: Share of the masks' pixels.
        disagreements: What is beyond the limits, an image each.
    """

    images: int = 0
    labels_equal: int | None = None
    largest_score_difference: float | None = None
    largest_box_difference: float | None = None
    equal_pixels: float | None = None
    disagreements: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the labels are equal, the boxes within half a pixel and 99.99 % of the pixels of masks the same."""
        return not self.disagreements

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**asdict(self), "holds": self.holds}


def compare(checkpoint: Predictor, exported: Predictor, sources: Iterable[Source], batch_size: int = 32) -> Parity:
    """Predicts images with both.

    Args:
        checkpoint: What is right.
        exported: What is compared with it.
        sources: Real images, which are gone through twice.
        batch_size: Images at a time.
    """
    parity, same, pixels, other = Parity(), 0, 0, []
    total = len(sources) if isinstance(sources, Sized) else None
    pairs = zip(checkpoint.stream(sources, batch_size), exported.stream(sources, batch_size), strict=True)
    for (source, expected), (_, found) in track(pairs, "Comparing", total, transient=True):
        parity.images += 1
        if "probabilities" in expected:
            _compare_labels(parity, source.name, expected, found)
        if "bbox" in expected:
            far = float(np.abs(expected["bbox"] - found["bbox"]).max())
            parity.largest_box_difference = max(far, parity.largest_box_difference or 0.0)
            if not far <= PIXELS:
                parity.disagreements.append(f"{source.name}: a corner of the box is {far:.2f} pixels away")
        if "mask" in expected:
            equal = int((expected["mask"] == found["mask"]).sum())
            same, pixels = same + equal, pixels + expected["mask"].size
            if equal < MASKS * expected["mask"].size:
                share = 1 - equal / expected["mask"].size
                other.append(f"{source.name}: {share:.2%} of the pixels have another class")
    if pixels:
        parity.equal_pixels = same / pixels
        if parity.equal_pixels < MASKS:  # else ties of a few pixels in a small image
            parity.disagreements += other
    return parity


def _compare_labels(parity: Parity, name: str, expected: Sample, found: Sample) -> None:
    far = float(np.abs(expected["probabilities"] - found["probabilities"]).max())
    parity.largest_score_difference = max(far, parity.largest_score_difference or 0.0)
    equal = expected["label"] == found["label"]
    parity.labels_equal = (parity.labels_equal or 0) + equal
    if not far <= SCORES:
        parity.disagreements.append(f"{name}: a probability differs by {far:.3f}")
    elif not equal:
        parity.disagreements.append(f"{name}: {found['class_name']} in place of {expected['class_name']}")
