"""Figures of one stage (train, val or test), from the counts of all images and processes in an epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MeanMetric

from visiontasks.core.sample import Batch
from visiontasks.models.heads.base import Head, Stage
from visiontasks.targets import Target, is_empty, names_of
from visiontasks.targets.sample import Outputs, predict_samples


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
            self.parts[0] = self.parts[0] + counts
        else:
            self.parts.append(counts)

    def gather(self) -> np.ndarray:
        """Returns the counts of all processes, float64 (N, rows, classes), where N is 1 if they are summed."""
        own = [np.asarray(part.cpu() if isinstance(part, Tensor) else part, np.float64) for part in self.parts]
        every: list[Any] = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            every = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(every, own)
        rows = np.concatenate([one if one.ndim == 3 else one[None] for part in every for one in part])
        return rows.sum(0, keepdims=True) if self.target.additive else rows


class StageFigures(nn.Module):
    """Mean loss of one stage, counts of each head of a task and of its baseline, and metrics that need more."""

    def __init__(self, stage: Stage, heads: Mapping[str, Head], spec: dict[str, Any]) -> None:
        super().__init__()
        self.stage, self.spec = stage, spec
        self.heads = dict(heads)  # a ModuleDict would be saved twice
        self.extras: Any = nn.ModuleDict({key: head.extras(stage) for key, head in heads.items()})
        # a metric and not a logged number, whose mean over ranks of different size would be wrong
        self.loss = MeanMetric(nan_strategy="disable")
        self.reset()

    def reset(self) -> None:
        """Removes all counts."""
        self.tallies = {key: Tally(head.target) for key, head in self.heads.items()}
        self.baselines = {key: Tally(head.target) for key, head in self.heads.items()}
        self.calibrated: dict[str, np.ndarray] = {}
        self.tables: dict[str, Outputs] = {}
        for metric in (self.loss, *self.extras.values()):
            metric.to(torch.float32)  # states that became bfloat16 with the model would stop counting at 256
            metric.reset()

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
        and keeps the `tables`: values per class and matrices (rows: true classes), by key and name."""
        found: dict[str, float] = {}
        for key, head in self.heads.items():
            if not self.tallies[key].parts:
                continue
            counts = self.calibrated[key] if self.calibrated else self.tallies[key].gather()
            figures: dict[str, Any] = head.target.figures(counts)
            monitor = head.target.monitor
            if self.stage == "train":
                found[monitor] = float(figures[monitor])
                continue
            if is_empty(figures):
                rank_zero_warn(f"{self.stage}: no image has a known {key}, so its figures are left blank.")
            elif len(self.extras[key]):
                figures |= {name: value.cpu().numpy() for name, value in self.extras[key].compute().items()}
            self.tables[key] = {name.removeprefix("class/"): value for name, value in figures.items() if value.ndim}
            figures[f"{monitor}_baseline"] = head.target.figures(self.baselines[key].gather())[monitor]
            found |= {name: float(value) for name, value in figures.items() if not value.ndim}
        return found
