"""Division of samples into train, val and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_text

SPLITS = ("train", "val", "test")


class MissingSplit(InputError):
    """A dataset does not have the requested split."""


@dataclass(frozen=True)
class Splits:
    """Divides the samples of a dataset without splits by ratio (seeded, stratified or by group) or by fold.

    Attributes:
        val: Share of the samples for validation, 0..1.
        test: Share of the samples for testing, 0..1.
        fold: If given, sample i is for validation where `i % folds == fold`, and the ratios are ignored. The samples
            keep their order, so a list sorted by name gives the same folds on every machine.
        folds: Number of folds.
        seed: Seed of the ratio split.
    """

    val: float = 0.2
    test: float = 0.0
    fold: int | None = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise InputError(f"splits: val={self.val} and test={self.test} must be shares with a sum below 1.")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise InputError(f"splits.fold: {self.fold} is not in 0..{self.folds - 1}, folds is {self.folds}.")

    def indices(self, split: str, labels: Sequence[int], groups: Sequence[str] | None = None) -> np.ndarray:
        """Returns the samples of a split: int64 indices, ascending.

        Args:
            split: train, val or test.
            labels: Class index of every sample; ratio splits keep the shares of the classes.
            groups: Group of every sample; ratio splits then keep each group in one split instead.

        Raises:
            MissingSplit: The split would be empty.
        """
        if self.fold is not None:
            if groups is not None:
                raise InputError("splits.fold and a group column do not go together: use val and test.")
            side = np.where(np.arange(len(labels)) % self.folds == self.fold, "val", "train")
        elif groups is not None:
            side = self._by_group(np.asarray(groups))
        else:
            side = self._by_class(np.asarray(labels))
        chosen = np.flatnonzero(side == split)
        if not len(chosen):
            raise MissingSplit(f"the {split} split is empty: {len(labels)} samples, {self}.")
        return chosen

    def log_unused(self, split: str, reason: str) -> None:
        """Logs, for train only, that the data has its own splits, if any value here is not the default."""
        if split == "train" and self != Splits():
            rank_zero_info(f"{reason}, so {self} is not used.")

    def _by_class(self, labels: np.ndarray) -> np.ndarray:
        """Takes every n-th of the samples sorted by class, so that each class gives its share, small ones in turn."""
        order = np.random.default_rng(self.seed).permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        side = np.full(len(labels), "train")
        test = _every(self.test, len(order))
        side[order[test]] = "test"
        rest = order[~test]
        side[rest[_every(self.val / (1 - self.test), len(rest))]] = "val"
        for label in np.setdiff1d(labels, labels[side == "train"]):  # too small to divide
            side[np.flatnonzero(labels == label)[0]] = "train"
        return side

    def _by_group(self, groups: np.ndarray) -> np.ndarray:
        names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        order = np.random.default_rng(self.seed).permutation(len(names))
        middle = np.cumsum(sizes[order]) - sizes[order] / 2  # of each group, in samples
        borders = np.array([self.test, self.test + self.val]) * len(groups)
        side = np.full(len(names), "train")
        side[order] = np.array(["test", "val", "train"])[np.searchsorted(borders, middle, side="right")]
        return side[members]


def _every(share: float, count: int) -> np.ndarray:
    """Marks `share` of `count` places, evenly spread: bool (count,)."""
    return np.diff(np.floor(np.arange(count + 1) * share + 0.5)) > 0


def read_list(path: Path) -> list[tuple[str, list[str]]]:
    """Reads the place (for messages) and the words of each line; `MissingSplit` if the file is missing or empty."""
    if not path.is_file():
        raise MissingSplit(f"{path}: no such list.")
    lines = enumerate(read_text(path).splitlines(), 1)
    found = [(f"{path}, line {number}", line.split()) for number, line in lines if line.split()]
    if not found:
        raise MissingSplit(f"{path}: the list is empty.")
    return found
