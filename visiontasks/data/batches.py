"""Which samples make up each batch, and what a loader's worker does to build one."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from torch.utils.data import Dataset, DistributedSampler

from visiontasks.core.errors import InputError
from visiontasks.core.sample import Batch, Sample
from visiontasks.data.collate import collate
from visiontasks.data.datasets.base import VisionDataset

Key = tuple[int, list[int]]  # epoch and indices: the epoch travels with the work, to persistent workers too


class ExactBatchSampler(DistributedSampler):
    """Yields the keys of one rank's batches; every sample exactly once over all ranks.

    The order is a pure function of (seed, epoch). It is cut into batches whose sizes differ by at most
    one, and each batch into the ranks' shares: every rank makes the same number of steps, no sample
    is padded or dropped, there is no tiny last batch, and the same samples meet in a step for any
    number of ranks at one global batch size.

    It is a `DistributedSampler` so that Lightning leaves it in place and tells it the epoch.

    Args:
        count: Number of samples.
        batch_size: Samples a batch and rank, at most.
        shuffle: A new order each epoch.
        weights: If given, draw with replacement in these proportions, float (count,).
        seed: Seed of the order.
        num_replicas: Number of ranks.
        rank: This rank.
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
        steps = math.ceil(count / (batch_size * num_replicas))
        self.steps = min(steps, count // num_replicas)  # batches of one: no rank may go without

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Key]:
        for batch in np.array_split(self._order(), self.steps):
            yield self.epoch, batch[self.rank :: self.num_replicas].tolist()

    def _order(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.weights is not None:
            return rng.choice(self.count, self.count, p=self.weights / self.weights.sum())
        return rng.permutation(self.count) if self.shuffle else np.arange(self.count)


class BatchDataset(Dataset):
    """Turns a key into a batch: reads, transforms, collates.

    An int stands for the batch of that number in file order: that is what Lightning asks for when
    `overfit_batches` takes the sampler away.

    Raises:
        InputError: An image cannot be read, or its box is lost on the way; the message names it.
    """

    def __init__(
        self,
        dataset: VisionDataset,
        transform: Callable[[Sample, int, int], Sample],
        batch_size: int,
        names: Mapping[str, Sequence[str]],
    ) -> None:
        self.dataset, self.transform, self.batch_size, self.names = dataset, transform, batch_size, names

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __getitem__(self, index: Key | int) -> Batch:
        if isinstance(index, int):
            start = index * self.batch_size
            index = (0, list(range(start, min(start + self.batch_size, len(self.dataset)))))
        epoch, indices = index
        return collate([self.sample(epoch, i) for i in indices], self.names)

    def sample(self, epoch: int, index: int) -> Sample:
        """Reads and transforms one sample."""
        sample = self.dataset[index]
        try:
            return self.transform(sample, epoch, index)
        except InputError as error:
            raise InputError(f"{self.dataset.name(index)}: {error}") from None
