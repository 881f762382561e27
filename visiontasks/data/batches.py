"""Batches: which samples make up each one, and how a loader's worker builds it."""

import gc
import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

from visiontasks.core.errors import InputError
from visiontasks.core.sample import Batch, Sample
from visiontasks.core.signals import ENDING
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.targets import find_target
from visiontasks.targets.sample import targets_of

Names = Mapping[str, Sequence[str]]  # class names of each target, by key
Key = tuple[int, list[int]]  # epoch and indices: the epoch travels with the work, to persistent workers too


class ExactBatchSampler(DistributedSampler, SequentialSampler):
    """Yields the keys of one rank's batches; each sample occurs exactly once over all ranks.

    The order is a pure function of (seed, epoch). It is cut into batches whose sizes differ by at most one, and each
    batch into the shares of the ranks. So every rank makes the same number of steps, no sample is padded or dropped,
    no batch is tiny, and for one global batch size the same samples meet in a step for any number of ranks.

    It is a `DistributedSampler` so that Lightning keeps it and sets its epoch, and a `SequentialSampler` so that
    Lightning keeps it with `overfit_batches`, too.

    Args:
        count: Number of samples.
        batch_size: Largest number of samples per batch and rank.
        shuffle: Use a new order in each epoch.
        weights: If given, draw with replacement in these proportions, float (count,).
        seed: Seed of the order.
        num_replicas: Number of ranks.
        rank: This rank.

    Attributes:
        start: Called when an epoch begins; returns the number of its batches to skip.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        shuffle: bool = False,
        weights: np.ndarray | None = None,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        if count < num_replicas:
            raise InputError(f"{count} samples cannot be divided over {num_replicas} processes. Use fewer devices.")
        super().__init__(range(count), num_replicas, rank, shuffle, seed)  # ty: ignore[invalid-argument-type]
        self.count, self.weights = count, weights
        self.start: Callable[[], int] = lambda: 0
        self.steps = min(math.ceil(count / (batch_size * num_replicas)), count // num_replicas)  # no batch may be empty

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Key]:  # ty: ignore[incompatible-method-override]
        for batch in np.array_split(self._order(), self.steps)[self.start() :]:
            yield self.epoch, batch[self.rank :: self.num_replicas].tolist()

    def _order(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.weights is not None:
            return rng.choice(self.count, self.count, p=self.weights / self.weights.sum())
        return rng.permutation(self.count) if self.shuffle else np.arange(self.count)


class BatchLoader(DataLoader):
    """A loader whose workers start with the first batch: only then Lightning knows the epoch and the place in it."""

    def __iter__(self) -> Iterator[Batch]:  # ty: ignore[incompatible-method-override]
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: Lightning restores the place in the epoch, and warns about loaders without this method."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores nothing; see `state_dict`."""


class BatchDataset(Dataset):
    """Turns a key into a batch: reads, transforms and collates the samples.

    An image that cannot be read, or whose box is lost, raises an `InputError` that names it.
    """

    def __init__(self, dataset: VisionDataset, transform: Callable[[Sample, int, int], Sample], names: Names) -> None:
        self.dataset, self.transform, self.names = dataset, transform, names

    def __getitem__(self, index: Key) -> Batch:
        epoch, indices = index
        return collate([self.sample(epoch, i) for i in indices], self.names)

    def sample(self, epoch: int, index: int) -> Sample:
        """Reads and transforms one sample."""
        sample = self.dataset[index]
        try:
            return self.transform(sample, epoch, index)
        except InputError as error:
            raise InputError(f"{self.dataset.name(index)}: {error}") from None


def collate(samples: Sequence[Sample], names: Names) -> Batch:
    """Stacks samples with images of one size into a batch, with `image` in channels_last memory format.

    Args:
        samples: Dicts of the sample contract.
        names: Class names of each target of the dataset, by key. If a sample lacks a target, the batch has the value
            that losses and metrics leave out.

    Raises:
        InputError: A sample has a key that belongs to no target kind.
    """
    batch: Batch = {key: torch.tensor([sample[key] for sample in samples]) for key in ("index", "size")}
    batch["image"] = torch.from_numpy(np.stack([sample["image"] for sample in samples])).permute(0, 3, 1, 2)
    known, (height, width) = [targets_of(sample) for sample in samples], batch["image"].shape[-2:]
    for key in names:
        values = find_target(key).collate([sample.get(key) for sample in known], (height, width), names[key])
        batch[key] = torch.from_numpy(np.ascontiguousarray(values))
    if "truth" in samples[0]:
        batch["truth"] = [sample["truth"] for sample in samples]
    return batch


def as_is(batch: Any) -> Batch:
    """Returns a batch as it is; torch's own function would turn the arrays in `truth` into tensors."""
    return batch


def count_workers(asked: int | None, trainer: Any) -> int:
    """Returns the number of loader processes: as many as asked for, else none on a CPU and up to 8 per device.

    Raises:
        InputError: The number asked for is much larger than that of the cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if asked is None:
        on_cpu = not trainer or trainer.strategy.root_device.type == "cpu"
        return 0 if on_cpu else min(8, cores // trainer.num_devices)
    if asked > (most := max(16, 4 * cores)):  # each takes some 50 ms to start, and memory
        what = f"data.num_workers: {asked} loader processes on {cores} CPU cores"
        raise InputError(f"{what}; expected at most {most}. Give about one per core.")
    return asked


def start_worker(number: int) -> None:
    """Prepares a process that loads batches."""
    gc.freeze()  # the garbage collector need not search the parent's imports again and again
    for ending in ENDING:  # a signal to all processes is for the main one, which then ends its loaders
        signal.signal(ending, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)


def _ignore_once(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # the second one is from torch, if the loader hangs
