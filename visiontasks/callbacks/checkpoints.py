"""Checkpoints of a fit, from which it resumes as if it had not stopped."""

import math
import os
import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.files import sweep
from visiontasks.core.signals import REQUEUE, Inbox, Interrupted
from visiontasks.tasks.checkpoint import CheckpointFile

UNITS = {"s": 1, "min": 60, "h": 3600}


def figures(trainer: Trainer, stage: str) -> dict[str, float]:
    """Returns the newest figures of a stage by name, without those of single steps."""
    metrics = trainer.callback_metrics.items()
    return {name: float(value) for name, value in metrics if name.startswith(f"{stage}/") and "_step" not in name}


class Checkpoints(Checkpoint):
    """Writes `best.ckpt` after the best validation, and `last.ckpt` at the end of each epoch and in between.

    A fit that resumes from either ends with the same weights as one that did not stop. SIGINT (Ctrl-C), SIGTERM and
    SIGHUP end a fit after the current step, when `last.ckpt` has been written, with the status 130, 143 or 129.

    Args:
        directory: Folder of the files.
        every: Time (`30s`, `10min`, `2h`) or number of steps (`500`) after which `last.ckpt` is written within an
            epoch.

    Attributes:
        best: Figures of the validation whose state `best.ckpt` holds; empty if there is none.
        best_epoch: Its epoch.
    """

    def __init__(self, directory: str, every: str | int = "10min") -> None:
        self.directory, self.every = Path(directory), str(every)
        found = re.fullmatch(r"([1-9]\d*) ?(s|min|h)?", self.every)
        if found is None:
            raise InputError(f"save_every: {every!r} is not a time such as 30s, 10min or 2h, nor a number of steps.")
        count, unit = found.groups()
        self.seconds, self.steps = (int(count) * UNITS[unit], math.inf) if unit else (math.inf, int(count))
        self.best: dict[str, float] = {}
        self.best_epoch, self.inbox, self.opened = 0, Inbox(), ExitStack()

    @property
    def last(self) -> Path:
        """The file of the newest state."""
        return self.directory / "last.ckpt"

    @property
    def best_model_path(self) -> str:
        """The file of the best state, or an empty text if there is none; Lightning asks for it by this name."""
        return str(best) if (best := self.directory / "best.ckpt").is_file() else ""

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self.monitor = pl_module.monitor
        trainer.strategy.checkpoint_io = CheckpointFile()
        if stage == "fit" and trainer.is_global_zero:
            sweep(self.directory, "best.ckpt", "last.ckpt")

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        # Lightning does not save that it was told to stop
        callbacks: list[Callback] = trainer.callbacks  # ty: ignore[missing-attribute]
        stoppers = (callback for callback in callbacks if isinstance(callback, EarlyStopping))
        trainer.should_stop |= any(stopper.wait_count >= stopper.patience for stopper in stoppers)
        if self.best and not trainer.strategy.broadcast(self.best_model_path):
            rank_zero_warn(f"{self.directory}: there is no best.ckpt, so the best figures so far do not count.")
            self.best = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.opened.enter_context(self.inbox.open())
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = batch_idx + 1
        # Lightning resumes rightly only where no validation and no end of the epoch follows, and does not save
        # gradients that it accumulated
        within = done % trainer.accumulate_grad_batches == 0 and done < trainer.num_training_batches
        interval = trainer.val_check_batch
        if trainer.check_val_every_n_epoch is None:
            done = trainer.fit_loop.total_batch_idx + 1
        if within and (interval is None or done % interval) and trainer.global_step != trainer.max_steps:
            self._save_if_due(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        found = figures(trainer, "val")
        if found.get(self.monitor, -math.inf) > self.best.get(self.monitor, -math.inf):
            self.best, self.best_epoch = found, trainer.current_epoch
            self._save(trainer, "best.ckpt")
        self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._save_last(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._end_if_interrupted(trainer)  # not at the end of the last epoch, whose figures were not logged then

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.opened.close()
        self._end_if_interrupted(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self.opened.close()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        for key, state in checkpoint["callbacks"].items():  # of a run before version 0.9
            if key.startswith("ModelCheckpoint") and state["monitor"] == self.monitor:
                self.best = {self.monitor: float(state["best_model_score"])}

    def _save_if_due(self, trainer: Trainer) -> None:
        seconds, steps = time.monotonic() - self.saved_at, trainer.global_step - self.saved_step
        due = self.inbox.number > 0 or seconds >= self.seconds or steps >= self.steps
        if trainer.strategy.reduce_boolean_decision(due, all=False):  # clocks differ, and a signal may reach one rank
            self._save_last(trainer)
            self._end_if_interrupted(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        self._save(trainer, "last.ckpt")
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def _save(self, trainer: Trainer, name: str) -> None:
        if trainer.fast_dev_run:  # ty: ignore[missing-attribute]
            return
        self.inbox.closed = True
        trainer.save_checkpoint(self.directory / name, weights_only=False)
        self.inbox.closed = False

    def _end_if_interrupted(self, trainer: Trainer) -> None:
        number = torch.tensor(self.inbox.number, device=trainer.strategy.root_device)
        if number := int(trainer.strategy.reduce(number, reduce_op="max")):
            if number == REQUEUE and trainer.is_global_zero:
                job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"])
                task = os.environ.get("SLURM_ARRAY_TASK_ID")
                subprocess.run(["scontrol", "requeue", f"{job}_{task}" if task else job], check=True)
            raise Interrupted(number)


def checkpoints_of(trainer: Trainer) -> Checkpoints | None:
    """Returns the trainer's `Checkpoints`, if it has one."""
    return next((one for one in trainer.checkpoint_callbacks if isinstance(one, Checkpoints)), None)
