"""Wrong classes of pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.core.sample import IGNORE_MASK
from visiontasks.doctor.regions import MAPS, Regions, mean_in_masks
from visiontasks.doctor.suspects import Check, Suspect

SMALLEST = 0.002  # share of the picture that a class must cover


class MaskErrors(Check):
    """Classes of a `mask` whose pixels look like another class."""

    what, needs_maps = "masks", True

    def __init__(self, names: Sequence[str], channels: Sequence[int]) -> None:
        super().__init__(names, channels)
        self.regions = Regions()
        self.places: list[tuple[int, int, float]] = []  # row, class and share of the picture of each region

    def add(self, features: list[Tensor], target: Tensor, rows: Tensor) -> None:
        for number, (mask, row) in enumerate(zip(target[:, ::2, ::2].long(), rows.tolist(), strict=True)):
            shares = mask.flatten().bincount(minlength=IGNORE_MASK + 1)[: len(self.names)] / mask.numel()
            labels = (shares > SMALLEST).nonzero().flatten()
            if len(labels):
                masks = (mask == labels[:, None, None]).float()
                self.regions.add(mean_in_masks([features[level][number] for level in MAPS], masks), labels)
                self.places += [(row, label, float(shares[label])) for label in labels.tolist()]

    def suspects(self) -> list[Suspect]:
        return [
            Suspect(self.places[place][0], doubt, self._note(place, other, probability))
            for place, doubt, other, probability in self.regions.doubtful(len(self.names))
        ]

    def _note(self, place: int, other: int, probability: float) -> str:
        _, label, share = self.places[place]
        return f"{self.names[label]} ({share:.0%} of it) looks like {self.names[other]} ({probability:.2f})"
