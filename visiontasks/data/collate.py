"""Collates samples into a batch."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from visiontasks.core.sample import Batch, Sample
from visiontasks.targets import find_target
from visiontasks.targets.sample import targets_of


def collate(samples: Sequence[Sample], names: Mapping[str, Sequence[str]]) -> Batch:
    """Stacks samples into a batch.

    Args:
        samples: Dicts of the sample contract, with images of one size.
        names: The targets of the set and the names of their classes, by key. Where a sample lacks one, the batch has
            the value that losses and figures leave out.

    Returns:
        A dict of the batch contract. `image` is in channels_last memory format.

    Raises:
        InputError: A sample has a key that belongs to no target kind.
    """
    images = torch.from_numpy(np.stack([sample["image"] for sample in samples])).permute(0, 3, 1, 2)
    batch: Batch = {"image": images}
    for key in ("index", "size"):
        batch[key] = torch.tensor([sample[key] for sample in samples])
    known = [targets_of(sample) for sample in samples]
    height, width = images.shape[-2:]
    for key in names:
        values = find_target(key).collate([sample.get(key) for sample in known], (height, width), names[key])
        batch[key] = torch.from_numpy(np.ascontiguousarray(values))
    if "truth" in samples[0]:
        batch["truth"] = [sample["truth"] for sample in samples]
    return batch
