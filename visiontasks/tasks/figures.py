"""Figures of one stage (train, val or test), from the counts of all images and processes in an epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from visiontasks.core.sample import Batch
from visiontasks.models.heads.base import Head, Stage
from visiontasks.targets import Target, is_empty, names_of
from visiontasks.targets.sample import Outputs, predict_samples


def split_of(trainer: Any, stage: Stage) -> str:
    """Returns the split that a stage is about: a test of data without a test split is about `val`."""
    return getattr(trainer.datamodule, "test_split", stage) if stage == "test" else stage


class Tally:
    """Counts of a target kind, summed if it is `additive`, else listed.

    It is not a torchmetrics metric, because those become bfloat16 with the model and stop counting at 256.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.parts: list[Any] = []

    def add(self, counts: np.ndarray | Tensor) -> None:
        """Adds the counts of one image, (rows, classes), or of a training batch; see `Head.counts`."""
        if self.target.additive and self.parts:
            before = self.parts[0]  # on the CPU if it is from a checkpoint
            self.parts[0] = (before.to(counts.device) if isinstance(counts, Tensor) else before) + counts
        else:
            self.parts.append(counts)

    def gather(self) -> np.ndarray:
        """Returns the counts of all processes, float64 (N, rows, classes), where N is 1 if they are summed."""
        own = [np.asarray(part.cpu() if isinstance(part, Tensor) else part, np.float64) for part in self.parts]
        every = (one for part in _of_all_ranks(own) for one in part)
        rows = np.concatenate([one if one.ndim == 3 else one[None] for one in every])
        return rows.sum(0, keepdims=True) if self.target.additive else rows


def _named(figures: dict[str, float], taken: dict[str, float], key: str) -> dict[str, float]:
    return {f"{key}_{name}" if name in taken else name: value for name, value in figures.items()}


def _of_all_ranks(own: Any) -> list[Any]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    every: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, own)
    return every


class StageFigures(nn.Module):
    """Mean loss of a task in one stage, the counts of each head and of its baseline, and metrics that need more."""

    def __init__(self, stage: Stage, heads: Mapping[str, Head], spec: dict[str, Any]) -> None:
        super().__init__()
        self.stage, self.spec = stage, spec
        self.heads = dict(heads)  # a ModuleDict would be saved twice
        self.extras: Any = nn.ModuleDict({key: head.extras(stage) for key, head in heads.items()})
        self.reset()

    def reset(self) -> None:
        """Removes all counts."""
        self.tallies = {key: Tally(head.target) for key, head in self.heads.items()}
        self.baselines = {key: Tally(head.target) for key, head in self.heads.items()}
        self.calibrated: dict[str, np.ndarray] = {}
        self.tables: dict[str, Outputs] = {}
        self.loss: Any = torch.zeros(2)  # sum over the images, and their number
        for extras in self.extras.values():
            extras.to(torch.float32)  # states that became bfloat16 with the model would stop counting at 256
            extras.reset()

    def add_loss(self, loss: Tensor, count: int) -> None:
        """Adds the mean loss of the images of a batch, without leaving the device."""
        # not Lightning's mean over ranks, which is wrong if their numbers of images differ
        number = torch.full_like(loss, count, dtype=torch.float32)
        self.loss = self.loss.to(loss.device) + torch.stack([loss.float() * count, number])

    def add_training_batch(self, outputs: dict[str, Tensor], batch: Batch) -> None:
        """Adds a training batch at the resolution of the network, without leaving the device."""
        for key, head in self.heads.items():
            self.tallies[key].add(head.counts(outputs[key].detach(), batch[key]))

    def add_batch(self, outputs: dict[str, Tensor], batch: Batch) -> None:
        """Adds the images of a val or test batch one by one, at the resolution of the targets."""
        found = {key: head.postprocess(outputs[key].detach()).float().cpu().numpy() for key, head in self.heads.items()}
        count, sizes = len(batch["index"]), batch["size"].tolist()
        baselines = {key: head.baseline().float().cpu().numpy() for key, head in self.heads.items()}
        baselines = {key: np.broadcast_to(output, (count, *output.shape)) for key, output in baselines.items()}
        spec = {**self.spec, "image_size": tuple(batch["image"].shape[-2:])}
        predictions, guesses = list(predict_samples(found, sizes, spec)), predict_samples(baselines, sizes, spec)
        for prediction, guess, truth in zip(predictions, guesses, batch["truth"], strict=True):
            for key, head in self.heads.items():
                names = names_of(spec, key)
                self.tallies[key].add(head.target.counts(truth, prediction, names))
                self.baselines[key].add(head.target.counts(truth, guess, names))
        for key, extras in self.extras.items():
            if len(extras):
                device = outputs[key].device
                extras.update(*(part.to(device) for part in self.heads[key].extra_inputs(predictions, batch["truth"])))

    def calibrate(self) -> None:
        """Lets the heads choose their thresholds by the counts so far, which are then complete."""
        self.calibrated = {key: head.calibrate(self.tallies[key].gather()) for key, head in self.heads.items()}

    def values(self) -> dict[str, float]:
        """Computes the figures of all heads by name and `<monitor>_baseline` of each, NaN if no image has the target,
        and keeps the `tables`: values per class and matrices (rows: true classes), by key and name. A name that an
        earlier head has begins with the key of the head."""
        loss, count = self._total_loss()
        found = {"loss": loss / count} if count else {}
        for key, head in self.heads.items():
            if not self.tallies[key].parts:
                continue
            counts = self.calibrated[key] if self.calibrated else self.tallies[key].gather()
            if not len(counts):  # a head that does not count training batches
                continue
            figures: dict[str, Any] = head.target.figures(counts)
            monitor = head.target.monitor
            if self.stage == "train":
                found |= _named({monitor: float(figures[monitor])}, found, key)
                continue
            if is_empty(figures):
                rank_zero_warn(f"{self.stage}: no image has a known {key}, so its figures are left blank.")
            elif len(self.extras[key]):
                figures |= {name: value.cpu().numpy() for name, value in self.extras[key].compute().items()}
            figures |= head.target.matrices(counts) if self.stage == "test" else {}
            self.tables[key] = {name.removeprefix("class/"): value for name, value in figures.items() if value.ndim}
            guess, names = head.target.figures(self.baselines[key].gather()), (monitor, *head.target.compared)
            figures |= {f"{name}_baseline": guess[name] for name in names if name in guess}
            found |= _named({name: float(value) for name, value in figures.items() if not value.ndim}, found, key)
        return found

    def state(self) -> dict[str, Any]:
        """Returns the loss and the counts so far of each process, for a checkpoint within an epoch."""
        parts = {key: [part.cpu() for part in tally.parts] for key, tally in self.tallies.items()}
        return {"ranks": _of_all_ranks({"loss": self.loss.cpu(), "counts": parts})}

    def restore(self, state: dict[str, Any], rank: int, ranks: int) -> None:
        """Goes on from a checkpoint: each process with its own sums, so that they are rounded as if it had not stopped.

        If there were more or fewer processes, the first one adds up those of all.
        """
        self.reset()
        every = state["ranks"]
        own = every[rank : rank + 1] if len(every) == ranks else every if rank == 0 else []
        for part in own:
            self.loss = self.loss + part["loss"]
            for key, counts in part["counts"].items():
                for one in counts:
                    self.tallies[key].add(one)

    def _total_loss(self) -> tuple[float, float]:
        loss, count = np.sum(_of_all_ranks(self.loss.cpu().numpy()), axis=0).tolist()
        return loss, count
