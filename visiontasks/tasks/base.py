"""What every task does: the loop, written once."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from visiontasks.core.compat import load_training_data
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width
from visiontasks.core.sample import Batch, names_key, names_of
from visiontasks.core.serialize import Configurable, serialize
from visiontasks.models.backbone import Backbone
from visiontasks.models.heads.base import Head, Stage
from visiontasks.tasks.checkpoint import VERSION_KEY
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.schedules import Cosine, Phase, Schedule, lr_factor
from visiontasks.tasks.weights import start_from

STAGES = ("train_", "val_", "test_")  # an nn.Module has a `train` of its own
HeadFactory = Callable[[list[int], int], Head]
OptimizerFactory = Callable[[Iterable[Any]], Optimizer]


class VisionTask(Configurable, LightningModule):
    """A backbone with heads, trained on the sum of the heads' losses.

    Args:
        spec: `class_names`, `mask_names`, `image_size` and `resize`: `VisionDataModule.spec`.
        backbone: The source of features.
        heads: One head a key of the sample; each called with the backbone's channels and the number of classes.
            The first one's metric tells the best model.
        loss_weights: Weight of each head's loss in their sum; 1 where not given.
        optimizer: Called with the parameter groups.
        schedule: Factor on the learning rate over time.
        backbone_lr_ratio: The backbone's learning rate as a share of the heads'.
        weights: If given, checkpoint of another run to start from; heads of other classes are made anew.
        compile: Compile the backbone.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        backbone: Backbone,
        heads: dict[str, HeadFactory],
        loss_weights: dict[str, float] | None = None,
        optimizer: OptimizerFactory = DefaultAdamW,
        schedule: Schedule = Cosine(),
        backbone_lr_ratio: float = 1.0,
        weights: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(serialize(self), logger=False)
        self.spec, self.backbone = spec, backbone
        self.make_optimizer, self.backbone_lr_ratio = optimizer, backbone_lr_ratio
        self.phases = [Phase(0, schedule)]
        backbone.set_image_size(spec["image_size"])
        if "mask" in heads and spec["resize"] == "crop":
            raise InputError("data.resize: crop leaves pixels out that a mask must answer. Use letterbox or stretch.")
        made = {key: make(backbone.channels, len(names_of(spec, key))) for key, make in heads.items()}
        self.heads = nn.ModuleDict(made)
        for key, head in self._heads():
            if head.key != key:
                raise InputError(f"heads: {type(head).__name__} answers {head.key!r}, not {key!r}. Rename the key.")
        self.loss_weights = dict.fromkeys(heads, 1.0) | (loss_weights or {})
        if unknown := sorted(self.loss_weights.keys() - heads.keys()):
            raise InputError(f"loss_weights: no head answers {unknown[0]!r}; the heads are {sorted(heads)}.")
        self.needs_pyramid = any(head.needs_pyramid for _, head in self._heads())
        if any(is_lazy(parameter) for parameter in self.parameters()):
            self.eval()(torch.zeros(1, 3, *height_width(spec["image_size"]), dtype=torch.uint8))
            self.train()
        # a metric and not a logged number: that would be averaged wrongly over ranks of different size
        self.mean_loss = nn.ModuleDict({stage: MeanMetric(nan_strategy="disable") for stage in STAGES})
        self.train_metrics = self._per_head(lambda head: head.metrics("train"))
        self.val_metrics = self._per_head(lambda head: head.metrics("val"))
        self.test_metrics = self._per_head(lambda head: head.metrics("test"))
        self.val_floor = self._per_head(lambda head: head.metrics("val")[head.monitor])
        self.test_floor = self._per_head(lambda head: head.metrics("test")[head.monitor])
        self.test_tables = self._per_head(lambda head: head.tables())
        if weights:
            start_from(self, weights)
        self.to(memory_format=torch.channels_last)
        if compile:
            self.backbone.compile()

    @property
    def monitor(self) -> str:
        """The metric that tells the best model; more is better."""
        return f"val/{next(iter(self._heads()))[1].monitor}"

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Computes every head's output of uint8 (or normalized float) images (B, 3, H, W)."""
        features = self.backbone(images, self.needs_pyramid)
        return {key: head(features) for key, head in self._heads()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, _ = self._step(batch, "train")
        self.log("train/loss_step", loss, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "val")[1]

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "test")[1]

    def answers(self, images: Tensor) -> dict[str, Tensor]:
        """What a prediction is made of: see `Answers`, in torch."""
        return {key: dict(self._heads())[key].answer(output) for key, output in self(images).items()}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # dropout as a function of the step: the same after a resume
        seed = step_seed(self.trainer)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a millisecond where there is no GPU
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not hasattr(data, "summary"):
            return
        for key in self.heads:
            if (found := names_of(data.spec, key)) != (known := names_of(self.spec, key)):
                raise InputError(f"{names_key(key)}: the data has {found}, the model {known}. Train anew.")
        if stage == "fit":
            for key, head in self._heads():
                head.setup({**data.summary(), **({"masks": data.mask_counts} if key == "mask" else {})})
            if self.backbone.normalization == "dataset":
                self.backbone.normalizer.set_statistics(*data.channel_statistics)
            elif self.backbone.normalization == "zca":
                self.backbone.normalizer.set_statistics(*data.pixel_statistics)

    def configure_optimizers(self) -> Any:
        """One group for the heads and one for the backbone, from the start: a resume finds the same two."""
        groups = [
            {"params": list(self.heads.parameters()), "name": "heads"},
            {"params": list(self.backbone.parameters()), "name": "backbone"},
        ]
        optimizer = self.make_optimizer(groups)
        rate = optimizer.param_groups[0]["lr"]
        optimizer.param_groups[1]["lr"] = rate * self.backbone_lr_ratio
        load_training_data(self.trainer)  # else the number of batches is not known yet where only max_steps is given
        if math.isinf(updates := self.trainer.estimated_stepping_batches):
            raise InputError("trainer.max_epochs: -1 has no end, which a schedule needs. Give max_epochs or max_steps.")
        updates = int(updates)
        per_epoch = max(1, math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches))
        scheduler = LambdaLR(optimizer, lambda step: lr_factor(self.phases, step, updates, per_epoch, rate))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        from visiontasks import __version__

        data = getattr(self.trainer, "datamodule", None)
        checkpoint[VERSION_KEY] = {
            "version": __version__,
            "torch": str(torch.__version__),
            "commit": _git_commit(),
            "data": data.summary()["fingerprint"] if hasattr(data, "summary") else None,
            "spec": self.spec,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        spec = checkpoint.get(VERSION_KEY, {}).get("spec", self.spec)
        for key in self.heads:
            if (found := names_of(spec, key)) != (known := names_of(self.spec, key)):
                raise InputError(
                    f"{names_key(key)}: the checkpoint tells {found} apart, the data has {known}. Use that data, or "
                    "start a new fit with `--model.weights`."
                )
        for key in ("image_size", "resize"):
            if spec[key] != self.spec[key]:
                rank_zero_info(f"data.{key}: {spec[key]} in the checkpoint, {self.spec[key]} from now on.")

    def _step(self, batch: Batch, stage: Stage) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = self(batch["image"])
        mean: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": len(batch["index"])}
        total = torch.zeros((), device=self.device)
        for key, head in self._heads():
            output, target = outputs[key], self.target(batch, key)
            # mixed labels, where a callback has made them, are for the loss; the metrics keep to the true ones
            total = total + self.loss_weights[key] * head.loss(output, batch.get(f"mixed_{key}", target))
            if stage == "train":
                scores, truth = head.scores(output.detach()), target
            else:
                scores, truth = head.scored(output, {**batch, key: target}, self.spec)
                floor = getattr(self, f"{stage}_floor")[key]
                floor.update(head.floor(truth), truth)
                self.log(f"{stage}/{head.monitor}_floor", floor, **mean)
            for name, metric in getattr(self, f"{stage}_metrics")[key].items():
                metric.update(scores, truth)
                self.log(f"{stage}/{name}", metric, prog_bar=name == head.monitor, **mean)
            if stage == "test":
                self.test_tables[key].update(scores, truth)
        self.observe(outputs, batch, stage)
        loss: Any = self.mean_loss[f"{stage}_"]
        loss.update(total.detach().expand(len(batch["index"])))  # torchmetrics 1.9 drops weights where NaN may pass
        self.log(f"{stage}/loss", loss, **mean)
        return total, outputs

    def target(self, batch: Batch, key: str) -> Tensor:
        """The batch's value of a key; where no sample of it has one, what the key's head leaves out."""
        if key in batch:
            return batch[key]
        return dict(self._heads())[key].no_target(batch["image"])

    def observe(self, outputs: dict[str, Tensor], batch: Batch, stage: Stage) -> None:
        """Updates and logs what more than one head has a part in; most tasks have nothing of the kind."""

    def on_test_start(self) -> None:
        for tables in self.test_tables.values():
            tables.reset()

    def tables(self) -> dict[str, dict[str, Tensor]]:
        """The results of a test that are not single numbers, such as the confusion matrix: by key, then by name."""
        return {key: tables.compute() for key, tables in self.test_tables.items()}

    def _per_head(self, make: Callable[[Head], nn.Module]) -> Any:
        return nn.ModuleDict({key: make(head) for key, head in self._heads()})

    def _heads(self) -> Iterable[tuple[str, Head]]:
        return self.heads.items()  # ty: ignore[invalid-explicit-return]


def step_seed(trainer: Trainer, salt: int = 0) -> int:
    """A seed for the draws of one training step and rank, another for each salt."""
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))  # where seed_everything leaves it
    return hash((seed, trainer.fit_loop.total_batch_idx, trainer.global_rank, salt)) & 0x7FFFFFFF


def _git_commit() -> str | None:
    """The commit of the working directory, if it is one of git's."""
    try:
        run = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
