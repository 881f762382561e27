"""The base of all tasks: a backbone with heads, and the training loop."""

import math
import os
from collections.abc import Callable, Iterable
from typing import Any, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from visiontasks.core.compat import load_training_data
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width
from visiontasks.core.sample import Batch
from visiontasks.core.serialize import Configurable, serialize
from visiontasks.models.backbone import Backbone
from visiontasks.models.heads.base import Head, Stage
from visiontasks.models.network import reads_weights
from visiontasks.targets import names_of
from visiontasks.targets.sample import is_spec
from visiontasks.tasks.checkpoint import VERSION_KEY, provenance, start_from
from visiontasks.tasks.figures import StageFigures, split_of
from visiontasks.tasks.optimizer import DefaultAdamW
from visiontasks.tasks.resume import adapt_checkpoint, add_fit_state, updates_per_epoch
from visiontasks.tasks.schedules import Cosine, Phase, Schedule, lr_factor

HeadFactory = Callable[[list[int], int], Head]
OptimizerFactory = Callable[[Iterable[Any]], Optimizer]


class VisionTask(Configurable, LightningModule):
    """A backbone with heads, trained on the sum of the heads' losses.

    Args:
        spec: `class_names`, `mask_names`, `image_size` and `resize`: `VisionDataModule.spec`.
        backbone: The source of features.
        heads: One head per key of the sample; each is called with the backbone's channels and the number of classes.
            The metric of the first one selects the best model.
        loss_weights: Weight of each head's loss in their sum; 1 if not given.
        optimizer: Called with the parameter groups.
        schedule: Factor on the learning rate over time.
        backbone_lr_ratio: The backbone's learning rate as a share of the heads'.
        weights: Checkpoint of another run to start from; heads of other classes are created from scratch.
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
        if not is_spec(spec):
            raise InputError(f"model.spec: {str(spec)[:200]} describes no data.")
        self.spec, self.backbone = spec, backbone
        self.make_optimizer, self.backbone_lr_ratio = optimizer, backbone_lr_ratio
        self.phases, self.loaded = [Phase(0, schedule)], {}
        self.calibrates = False  # outside a fit too, as after a closed form alone
        backbone.set_image_size(spec["image_size"])
        made = {key: make(backbone.channels, len(names_of(spec, key))) for key, make in heads.items()}
        self.heads: Any = nn.ModuleDict(made)
        for key, head in self.heads.items():
            if head.key != key:
                raise InputError(f"heads: {type(head).__name__} predicts {head.key!r}, not {key!r}. Rename the key.")
            if head.target.dense and spec["resize"] == "crop":
                raise InputError(f"data.resize: crop cuts off pixels of the {key}. Use letterbox or stretch.")
        self.loss_weights = dict.fromkeys(heads, 1.0) | (loss_weights or {})
        if unknown := sorted(self.loss_weights.keys() - heads.keys()):
            raise InputError(f"loss_weights: no head predicts {unknown[0]!r}; the heads are {sorted(heads)}.")
        for name, value in {"backbone_lr_ratio": backbone_lr_ratio, **self.loss_weights}.items():
            if not 0 <= value < math.inf:
                raise InputError(f"model: {name}={value} must be 0 or more.")
        self.needs_pyramid = any(head.needs_pyramid for head in self.heads.values())
        if any(is_lazy(parameter) for parameter in self.parameters()):
            self.eval()(torch.zeros(1, 3, *height_width(spec["image_size"]), dtype=torch.uint8))
            self.train()
        stages = get_args(Stage)  # with "_" at the end, because an nn.Module has a method `train`
        self.figures: Any = nn.ModuleDict({f"{stage}_": StageFigures(stage, made, spec) for stage in stages})
        if weights and reads_weights.get():
            start_from(self, weights)
        self.to(memory_format=torch.channels_last)
        if compile:
            self.backbone.compile()

    @property
    def monitor(self) -> str:
        """The metric that selects the best model; higher is better."""
        return f"val/{next(iter(self.heads.values())).target.monitor}"

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Computes the output of every head for uint8 (or normalized float) images (B, 3, H, W)."""
        features = self.backbone(images, self.needs_pyramid)
        return {key: head(features) for key, head in self.heads.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        _, loss = self._step(batch, "train")
        self.log("train/loss_step", loss, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "val")[0]

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "test")[0]

    def postprocess(self, images: Tensor) -> dict[str, Tensor]:
        """Computes the tensors that predictions are built from; see `Outputs`."""
        features = self.backbone(images, self.needs_pyramid)
        return {key: head.predict(features) for key, head in self.heads.items()}

    def tables(self, stage: Stage = "test") -> dict[str, dict[str, Any]]:
        """Returns the last results of a stage that are not single figures; see `StageFigures.values`."""
        return self.figures[f"{stage}_"].tables

    def on_train_epoch_start(self) -> None:
        self.figures["train_"].reset()

    def on_validation_epoch_start(self) -> None:
        self.figures["val_"].reset()

    def on_test_epoch_start(self) -> None:
        self.figures["test_"].reset()

    def on_train_epoch_end(self) -> None:
        self._log_figures("train")

    def on_validation_batch_end(self, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        # not at the end of the epoch: a callback that averages weights has taken them back by then
        is_last = batch_idx + 1 == self.trainer.num_val_batches[dataloader_idx]
        is_fit = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        if is_last and (is_fit or self.calibrates):
            self.figures["val_"].calibrate()

    def on_validation_epoch_end(self) -> None:
        self._log_figures("val")

    def on_test_epoch_end(self) -> None:
        self._log_figures("test")

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed = step_seed(self.trainer)  # dropout depends on the step alone, so a resumed fit draws the same
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a millisecond where there is no GPU
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not hasattr(data, "summary"):
            return
        for key, head in self.heads.items():
            if key not in data.keys:
                raise InputError(
                    f"{type(head).__name__} predicts {key!r}, and the training set has none; it has "
                    f"{', '.join(data.keys) or 'no target'}. Use a dataset with {key!r}, or another head."
                )
            if (found := names_of(data.spec, key)) != (known := names_of(self.spec, key)):
                raise InputError(
                    f"{head.target.names_key}: the data has {found}, the model {known}. Retrain the model."
                )
            if stage == "fit":
                data.check_classes(key)
                head.setup(data.summary(key))
        if stage == "fit" and self.backbone.normalization == "dataset":
            self.backbone.normalizer.set_statistics(*data.channel_statistics)
        elif stage == "fit" and self.backbone.normalization == "zca":
            self.backbone.normalizer.set_statistics(*data.pixel_statistics)

    def configure_optimizers(self) -> Any:
        """Makes one parameter group for the heads and one for the backbone, also while it is frozen, for a resume."""
        parts = {"heads": self.heads, "backbone": self.backbone}
        groups = [{"params": list(part.parameters()), "name": name} for name, part in parts.items()]
        try:
            optimizer = self.make_optimizer(groups)
        except (ValueError, TypeError) as error:
            raise InputError(f"model.optimizer: {error}.") from error
        if not math.isfinite(rate := optimizer.param_groups[0]["lr"]):
            raise InputError("model.optimizer: the learning rate must be finite.")
        optimizer.param_groups[1]["lr"] = rate * self.backbone_lr_ratio
        load_training_data(self.trainer)  # so that the number of batches is known if only max_steps is given
        if math.isinf(updates := self.trainer.estimated_stepping_batches):
            raise InputError("trainer.max_epochs: -1 has no end, which a schedule needs. Give max_epochs or max_steps.")
        per_epoch = updates_per_epoch(self.trainer)
        scheduler = LambdaLR(optimizer, lambda step: lr_factor(self.phases, step, int(updates), per_epoch, rate))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        data = getattr(self.trainer, "datamodule", None)
        checkpoint[VERSION_KEY] = provenance(getattr(data, "fingerprint", None), self.spec)
        add_fit_state(checkpoint, self.trainer, self.figures["train_"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        stored = checkpoint.get(VERSION_KEY, {})
        spec = stored.get("spec", self.spec)
        for key, head in self.heads.items():
            if (found := names_of(spec, key)) != (known := names_of(self.spec, key)):
                raise InputError(
                    f"{head.target.names_key}: the checkpoint has {found}, the data {known}. Use that data, "
                    "or start a new fit with `--model.weights`."
                )
        for key in ("image_size", "resize", "gray_range", "page"):
            if (before := spec.get(key)) != (now := self.spec.get(key)):
                rank_zero_info(f"data.{key}: {before} in the checkpoint, {now} from now on.")
        if self.trainer.state.fn == "fit":
            self.loaded = checkpoint  # until there is an optimizer
            if "figures" in stored:
                self.figures["train_"].restore(stored["figures"], self.trainer.global_rank, self.trainer.world_size)

    def on_fit_start(self) -> None:
        if self.loaded:
            adapt_checkpoint(self.loaded, self)
            self.loaded = {}

    def _step(self, batch: Batch, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
        outputs = self(batch["image"])
        total = torch.zeros((), device=self.device)
        for key, head in self.heads.items():
            if key not in batch:
                raise InputError(f"{type(head).__name__} predicts {key!r}, which the batch lacks; it has {[*batch]}.")
            # labels that a callback mixed are for the loss only; the figures use the true ones
            loss = head.loss(outputs[key], batch.get(f"mixed_{key}", batch[key]))
            total = total + self.loss_weights[key] * loss
        figures = self.figures[f"{stage}_"]
        figures.add_loss(total.detach(), len(batch["index"]))
        (figures.add_training_batch if stage == "train" else figures.add_batch)(outputs, batch)
        return outputs, total

    def _log_figures(self, stage: Stage) -> None:
        split = split_of(self.trainer, stage)
        for name, value in self.figures[f"{stage}_"].values().items():
            self.log(f"{split}/{name}", value, prog_bar=f"val/{name}" == self.monitor)


def step_seed(trainer: Trainer, salt: int = 0) -> int:
    """Returns the seed of the random draws of one training step and rank; each salt gives another one."""
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))  # where seed_everything leaves it
    return hash((seed, trainer.fit_loop.total_batch_idx, trainer.global_rank, salt)) & 0x7FFFFFFF
