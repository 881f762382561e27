"""Closed-form solutions of heads from one or more passes of the training set."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from visiontasks.core.errors import InputError

Gather = Callable[[Tensor], list[Tensor]]
"""Returns the tensors of all processes."""


class Solver(ABC):
    """Gathers what the closed form of a head needs, batch by batch, and sets the head."""

    @abstractmethod
    def add(self, features: list[Tensor], target: Tensor, index: Tensor) -> None:
        """Adds a batch.

        Args:
            features: Feature maps as `Backbone.forward` returns them.
            target: Values of the head's key in the batch.
            index: Index of each sample in the training set, int64 (B,).
        """

    @abstractmethod
    def solve(self, gather: Gather) -> dict[str, float]:
        """Sets the head, equally in all processes; returns chosen hyperparameters and scores by name."""


class RowSolver(Solver):
    """Keeps the `design` of each sample, and lets the head `solve` it.

    Args:
        head: The head.
        samples: Number of samples of all passes and processes.
    """

    def __init__(self, head: Any, samples: int) -> None:
        self.head, self.samples = head, samples
        self.parts: tuple[list[Tensor], ...] = ([], [], [])

    def add(self, features: list[Tensor], target: Tensor, index: Tensor) -> None:
        design = self.head.design(features).float().cpu()
        self._check_size(design.shape[1])
        for parts, part in zip(self.parts, (design, target.cpu(), index.cpu()), strict=True):
            parts.append(part)

    def solve(self, gather: Gather) -> dict[str, float]:
        return self.head.solve(*(torch.cat(gather(torch.cat(parts))) for parts in self.parts))

    def _check_size(self, features: int) -> None:
        """Raises `InputError` if the solution would need too much memory or time."""
        size = 4 * features * self.samples / 1e9
        if size > 8 or min(features, self.samples) > 20_000:
            raise InputError(
                f"ClosedFormStart: {self.samples:,} samples of {features:,} features for {self.head.key} ({size:.0f} "
                "GB) are too many. Use fewer passes, a head with fewer features (for boxes `grid: 1`), or remove the "
                "callback."
            )
