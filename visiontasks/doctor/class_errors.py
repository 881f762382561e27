"""Wrong classes of whole images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.doctor.noise import LEAST_DOUBT, doubt_flags
from visiontasks.doctor.suspects import FEWEST, Check, Suspect, doubtful_classes
from visiontasks.models.ridge import fit_ridge

MOST_DOUBTFUL = 0.15  # share of the images with (or without) a class; more doubts show that the features miss the class


class _Pooled(Check):
    """Keeps the mean of the final map and the label of each image."""

    def __init__(self, names: Sequence[str], channels: Sequence[int]) -> None:
        super().__init__(names, channels)
        self.parts: tuple[list[Tensor], ...] = ([], [], [])

    def add(self, features: list[Tensor], target: Tensor, rows: Tensor) -> None:
        for parts, part in zip(self.parts, (features[-1].mean((2, 3)), target, rows), strict=True):
            parts.append(part)

    def gathered(self) -> tuple[Tensor, ...]:
        return tuple(torch.cat(parts) for parts in self.parts)


class LabelErrors(_Pooled):
    """Images whose left-out class differs from `label`."""

    what = "labels"

    def suspects(self) -> list[Suspect]:
        design, labels, rows = self.gathered()
        known = (labels != IGNORE_LABEL).nonzero().flatten()
        rows, labels = rows[known], labels[known]
        found = doubtful_classes(design[known], labels, len(self.names))
        return [
            Suspect(
                int(rows[place]),
                doubt,
                f"labeled {self.names[int(labels[place])]}, looks like {self.names[other]} ({probability:.2f})",
            )
            for place, doubt, other, probability in found
        ]


class FlagErrors(_Pooled):
    """Images where the left-out decision about one of the `labels` differs."""

    what, severity = "labels", "note"

    def suspects(self) -> list[Suspect]:
        design, labels, rows = self.gathered()
        return [one for number in range(len(self.names)) for one in self._of_class(number, design, labels, rows)]

    def _of_class(self, number: int, design: Tensor, labels: Tensor, rows: Tensor) -> list[Suspect]:
        known = labels[:, number].isfinite().nonzero().flatten()
        flags = labels[known, number]
        if min(flags.sum(), (1 - flags).sum()) < FEWEST:
            return []
        outputs = fit_ridge(design[known], flags[:, None].to(design.dtype)).left_out[:, 0]
        doubts, probabilities = doubt_flags(outputs, flags)
        doubtful = doubts > LEAST_DOUBT
        for side in (flags == 0, flags == 1):
            if doubtful[side].double().mean() > MOST_DOUBTFUL:
                doubtful &= ~side
        found = doubtful.nonzero().flatten().tolist()
        return [
            Suspect(int(rows[known[i]]), float(doubts[i]), self._note(number, flags[i], float(probabilities[i])))
            for i in found
        ]

    def _note(self, number: int, flag: Tensor, probability: float) -> str:
        has = f"labeled {self.names[number]}" if flag else f"not labeled {self.names[number]}"
        looks = f"does not look like it ({1 - probability:.2f})" if flag else f"looks like it ({probability:.2f})"
        return f"{has}, {looks}"
