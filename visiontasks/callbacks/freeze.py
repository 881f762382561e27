"""Training of the heads before the backbone."""

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.nn.parallel import DistributedDataParallel

from visiontasks.core.errors import InputError
from visiontasks.tasks.schedules import Phase, Schedule


class FreezeBackbone(Callback):
    """Keeps the backbone frozen for some epochs, then unfreezes all or some of its stages.

    The state depends on the epoch alone, so a resumed fit continues as if it had not stopped. If a learning rate or a
    schedule is given, a new phase begins when the backbone is unfrozen, with a schedule that starts at time 0.

    Args:
        epochs: Epochs with a frozen backbone; -1 for all epochs.
        stages: Number of last stages to unfreeze; by default all.
        lr: Learning rate of the heads in the new phase; that of the backbone keeps its ratio to it.
        schedule: Schedule of the new phase; by default that of the task.
        momentum: Momentum of the optimizer after unfreezing.
        nesterov: Whether it is Nesterov momentum.
    """

    def __init__(
        self,
        epochs: int = 1,
        stages: int | None = None,
        lr: float | None = None,
        schedule: Schedule | None = None,
        momentum: float | None = None,
        nesterov: bool | None = None,
    ) -> None:
        if stages is not None and stages < 1:
            raise InputError(f"FreezeBackbone: stages={stages} unfreezes nothing; use epochs: -1 to stay frozen.")
        if epochs < -1:
            raise InputError(f"FreezeBackbone: epochs={epochs} must be 0 or more, or -1 for all.")
        self.epochs, self.stages, self.lr, self.schedule = epochs, stages, lr, schedule
        self.changes = {"momentum": momentum, "nesterov": nesterov}

    def __str__(self) -> str:
        """What is frozen, and how long."""
        stages = "its last stage trains" if self.stages == 1 else f"its last {self.stages} stages train"
        if self.epochs == 0:
            return f"only {stages}" if self.stages else ""
        epochs = "frozen for the first " + ("epoch" if self.epochs == 1 else f"{self.epochs} epochs")
        return "frozen" if self.epochs < 0 else f"{epochs}, then {stages}" if self.stages else epochs

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if trainer.max_epochs and 0 <= trainer.max_epochs <= self.epochs:
            rank_zero_warn(f"FreezeBackbone: epochs={self.epochs}, but the fit ends after {trainer.max_epochs}.")
        if stage == "fit" and self.epochs > 0 and (self.lr is not None or self.schedule is not None):
            first = pl_module.phases[0]
            pl_module.phases = [first, Phase(self.epochs, self.schedule or first.schedule, self.lr)]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        model = trainer.strategy.model
        if isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
            raise InputError(
                "FreezeBackbone: this strategy would never synchronize parameters that are unfrozen later. "
                "Use `--trainer.strategy ddp_find_unused_parameters_true` or `-c configs/ddp.yaml`."
            )
        self.on_train_epoch_start(trainer, pl_module)  # not called if a fit resumes within an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        # not before training starts, because DDP ignores parameters that are frozen when it wraps the model
        if self.epochs < 0 or trainer.current_epoch < self.epochs:
            pl_module.backbone.freeze()
            return
        pl_module.backbone.unfreeze(self.stages)
        for name, value in self.changes.items():
            for group in trainer.optimizers[0].param_groups if value is not None else ():
                if name not in group:
                    optimizer = type(trainer.optimizers[0]).__name__
                    raise InputError(f"FreezeBackbone: {optimizer} has no {name}. Leave it out, or choose SGD.")
                group[name] = value
