"""Division of samples into train, val and test."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse
from visiontasks.core.text import normal, read_text

SPLITS = ("train", "val", "test")
SPELLINGS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
_WORDS = ")|(".join(map("|".join, SPELLINGS.values()))
_WORD = re.compile(rf"(?<![a-z])(?:({_WORDS}))(?![a-z])", re.IGNORECASE)
_NAME = re.compile(rf"(?:({_WORDS}))(?:[ _-]?(?:set|data|images))?[ _-]?[0-9]*", re.IGNORECASE)


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

    def __str__(self) -> str:
        """Shows the values that apply, as in a config."""
        keys = ("val", "test") if self.fold is None else ("fold", "folds")
        parts = {key: getattr(self, key) for key in keys if getattr(self, key) or key == keys[0]}
        return f"`splits: {{{', '.join(f'{key}: {value}' for key, value in parts.items())}}}`"

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


if TYPE_CHECKING:
    SplitsLike: TypeAlias = Splits | Mapping[str, Any]
else:
    SplitsLike = Splits  # which is what configs show and check


def find_part(split: str, splits: SplitsLike, there: Collection[str], where: str) -> tuple[str, Splits | None]:
    """Returns the part of a set that holds a split, and what divides it: `splits` divides train if there is no val.

    The log says, for train only, that the part is divided, or that `splits` is not used.

    Args:
        split: train, val or test.
        splits: How train is divided; in Python also a mapping, such as `{"val": 0.1}`.
        there: The splits that the set defines; if none, all of it counts as train, and is divided.
        where: The set, for messages.

    Raises:
        MissingSplit: The set has no such part.
        InputError: `splits` has an unknown key, or would divide off a test part, but the set has one.
    """
    splits = _checked(splits)
    divided = "val" not in there and (split == "train" or split not in there)
    part = "train" if divided else split
    if there and part not in there:
        raise MissingSplit(f"{where}: no {part!r}; there are {', '.join(sorted(there))}.")
    if divided and "test" in there and splits.test:
        raise InputError(f"splits.test: {splits.test}, but {where} has a test part of its own. Set `splits.test: 0`.")
    if split == "train" and divided and there:
        rank_zero_info(f"{where} has no val, so {splits} divides train.")
    elif split == "train" and there and splits != Splits():
        rank_zero_info(f"{where} has the splits, so {splits} is not used.")
    return part, splits if divided else None


def _checked(splits: SplitsLike) -> Splits:
    if isinstance(splits, Splits):
        return splits
    known = [field.name for field in fields(Splits)]
    if not isinstance(splits, Mapping):
        raise InputError(f"splits: expected Splits, or a mapping such as {{'val': 0.2}}; found {splits!r}.")
    for key, value in splits.items():
        if key not in known:
            raise InputError(f"splits: unknown key {key!r}; there are {', '.join(known)}.")
        if not isinstance(value, int | float if key in ("val", "test") else int | None if key == "fold" else int):
            raise InputError(f"splits.{key}: expected a number; found {value!r}.")
    return Splits(**splits)


def _every(share: float, count: int) -> np.ndarray:
    """Marks `share` of `count` places, evenly spread: bool (count,)."""
    return np.diff(np.floor(np.arange(count + 1) * share + 0.5)) > 0


def split_of(name: str) -> str | None:
    """Returns the split that the name of a folder or a cell means: train, Training, valid, test_set ...; or None."""
    found = _NAME.fullmatch(name)
    return SPLITS[(found.lastindex or 0) - 1] if found else None


def without_split(name: str) -> tuple[str, str | None]:
    """Returns a name with `{split}` in place of the word of a split, which it also returns; None if it has none."""
    found = _WORD.search(name)
    if found is None:
        return name, None
    return _WORD.sub(lambda one: "{split}" if one[0] == found[0] else one[0], name), SPLITS[(found.lastindex or 0) - 1]


def alike_but_split(names: Iterable[str]) -> list[str]:
    """Returns names that differ only in the word of a split (and in numbers), one of them train; or none."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        if found := _WORD.search(name):
            rest = re.sub("[0-9]", "", name[: found.start()] + "*" + name[found.end() :])
            groups.setdefault(rest, {}).setdefault(SPLITS[(found.lastindex or 0) - 1], name)
    alike = next((group for group in groups.values() if "train" in group and len(group) > 1), {})
    return [alike[split] for split in SPLITS if split in alike]


def split_path(pattern: str, split: str) -> Path:
    """Returns the path of a split: the pattern with the spelling of its name that exists in place of `{split}`."""
    forms = [form for word in SPELLINGS[split] for form in (word, word.capitalize(), word.upper())]
    paths = (Path(pattern.replace("{split}", form)) for form in forms)
    return next((path for path in paths if exists(path)), Path(pattern.replace("{split}", split)))


def split_paths(pattern: str) -> dict[str, Path]:
    """Returns the paths of the splits that exist; none without `{split}`. Raises an InputError if there is no train."""
    if "{split}" not in pattern:
        return {}
    found = {name: path for name in SPLITS if exists(path := split_path(pattern, name))}
    if "train" not in found:
        others = f"; there are {', '.join(map(str, found.values()))}" if found else ""
        raise InputError(f"{split_path(pattern, 'train')}: no such file or folder{others}. Correct {pattern!r}.")
    return found


def read_lists(pattern: str, split: str) -> list[tuple[str, str]]:
    """Reads the list of a split: the place (for messages) and the text of each line; `{split}` is the split's name.

    Raises:
        MissingSplit: The file is missing or empty.
        InputError: A line occurs twice, in this list or in those of two splits.
    """
    path = split_path(pattern, split)
    if not path.is_file():
        raise MissingSplit(f"{path}: no such list.")
    lines = read_list(path)
    if not lines:
        raise MissingSplit(f"{path}: the list is empty.")
    others = [split_path(pattern, other) for other in SPLITS if other != split and "{split}" in pattern]
    seen: dict[str, str] = {}
    for where, line in (*(row for other in others if other.is_file() for row in read_list(other)), *lines):
        if (before := seen.setdefault(line, where)) != where:
            refuse("twice", line, InputError(f"{where}: {line!r} is already in {before}. Remove it from one of them."))
    return [(where, line) for line, where in {line: where for where, line in reversed(lines)}.items()][::-1]


def read_list(path: Path) -> list[tuple[str, str]]:
    """Reads the place and the text of each line that is not blank."""
    lines = enumerate(read_text(path).split("\n"), 1)
    return [(f"{path}, line {number}", normal(line)) for number, line in lines if line.strip()]
