"""Wrong classes of pixels."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from visiontasks.core.sample import IGNORE_MASK
from visiontasks.doctor.left_out_masks import LeftOutMasks
from visiontasks.doctor.regions import MAPS, Regions, mean_in_masks
from visiontasks.doctor.suspects import FEWEST, Check, Suspect

SMALLEST = 0.002  # share of the picture that a class must cover
SPREAD = 4 * 1.4826  # median deviations by which a right mask may differ; 4 standard deviations
LEAST = 0.15  # share of the pixels by which a wrong mask differs more than the median


class MaskErrors(Check):
    """Classes of a `mask` that look like another class, and masks that are shifted or empty."""

    what, needs_maps = "masks", True

    def __init__(self, names: Sequence[str], channels: Sequence[int]) -> None:
        super().__init__(names, channels)
        self.regions = Regions()
        self.cells = LeftOutMasks(sum(channels[level] for level in MAPS[:-1]), len(names))
        self.rows: list[int] = []
        self.places: list[tuple[int, int, float]] = []  # row, class and share of the picture of each region

    def add(self, features: list[Tensor], target: Tensor, rows: Tensor) -> None:
        size = int(features[0].shape[-2]), int(features[0].shape[-1])
        for number, (mask, row) in enumerate(zip(target[:, ::2, ::2].long(), rows.tolist(), strict=True)):
            maps = [features[level][number] for level in MAPS]
            self.rows.append(row)
            self.cells.add(maps[:-1], mask, size)
            shares = mask.flatten().bincount(minlength=IGNORE_MASK + 1)[: len(self.names)] / mask.numel()
            labels = (shares > SMALLEST).nonzero().flatten()
            if len(labels):
                self.regions.add(mean_in_masks(maps, (mask == labels[:, None, None]).float()), labels)
                self.places += [(row, label, float(shares[label])) for label in labels.tolist()]

    @property
    def part(self) -> str:
        return self.regions.part

    def suspects(self) -> list[Suspect]:
        return [*self._of_regions(), *self._of_cells()]

    def _of_regions(self) -> list[Suspect]:
        return [
            Suspect(self.places[place][0], doubt, self._note(place, other, probability))
            for place, doubt, other, probability in self.regions.doubtful(len(self.names))
        ]

    def _note(self, place: int, other: int, probability: float) -> str:
        _, label, share = self.places[place]
        return f"{self.names[label]} ({share:.0%} of the image) looks like {self.names[other]} ({probability:.2f})"

    def _of_cells(self) -> list[Suspect]:
        found = [(row, one) for row, one in zip(self.rows, self.cells.compare(), strict=True) if one.share >= 0]
        if len(found) < 2 * FEWEST:
            return []
        shares = np.array([one.share for _, one in found])
        middle = np.median(shares)
        limit = min(middle - SPREAD * np.median(abs(shares - middle)), middle - LEAST)
        return [
            Suspect(
                row,
                1 - one.share,
                f"{1 - one.share:.2f} of the pixels look like another class, most of them {self.names[one.label]} that "
                f"looks like {self.names[one.other]}",
            )
            for row, one in found
            if one.share < limit
        ]
