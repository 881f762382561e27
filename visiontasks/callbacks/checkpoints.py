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
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.files import cannot_be_written, sweep
from visiontasks.core.signals import REQUEUE, Inbox, Interrupted
from visiontasks.tasks.checkpoint import CheckpointFile
from visiontasks.tasks.resume import is_extra_validation, is_validation_due

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
        self.best_epoch, self.is_best, self.averages, self.asked = 0, False, False, 0
        self.inbox, self.opened, self.has_trained = Inbox(), ExitStack(), False
        self.stopping: list[tuple[EarlyStopping, dict[str, Any]]] = []

    @property
    def last(self) -> Path:
        """The file of the newest state."""
        return self.directory / "last.ckpt"

    @property
    def best_model_path(self) -> str:
        """The file of the best state, or an empty text if there is none; Lightning asks for it by this name."""
        return str(best) if (best := self.directory / "best.ckpt").is_file() else ""

    @best_model_path.setter
    def best_model_path(self, path: str) -> None:
        """Does nothing; Lightning sets it after `ddp_fork` to what the other processes found."""

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self.monitor = pl_module.monitor
        trainer.strategy.checkpoint_io = CheckpointFile()
        if stage == "fit" and trainer.is_global_zero:
            _make_folder(self.directory)
            sweep(self.directory, "best.ckpt", "last.ckpt")

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        callbacks: list[Callback] = trainer.callbacks  # ty: ignore[missing-attribute]
        for other in callbacks:
            if isinstance(other, ModelCheckpoint) and other.dirpath:  # `CheckpointFile` makes no folder
                _make_folder(Path(other.dirpath))
        # a callback that validates an average of the weights saves wrong ones meanwhile
        self.averages = any(isinstance(callback, WeightAveraging) for callback in callbacks)
        self.has_trained = False
        if _is_stopped(trainer):
            trainer.should_stop = True  # Lightning does not save that it was told to
        if self.best and not trainer.strategy.broadcast(self.best_model_path):
            rank_zero_warn(f"{self.directory}: there is no best.ckpt, so the best figures so far do not count.")
            self.best = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.opened.enter_context(self.inbox.open())
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step
        self.has_trained, self.stops = True, False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._end_if_asked(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._end_if_asked(trainer)  # not at the end of the batch before, because it was not logged then

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = batch_idx + 1
        # Lightning resumes rightly only where no validation and no end of the epoch follows, and does not save
        # gradients that it accumulated
        within = done % trainer.accumulate_grad_batches == 0 and done < trainer.num_training_batches
        if not within and done < trainer.num_training_batches:
            self.stops, trainer.should_stop = self.stops or trainer.should_stop, False  # not before the weights change
        elif self.stops:
            trainer.should_stop = True
        if within and not is_validation_due(trainer) and trainer.global_step != trainer.max_steps:
            self._save_if_due(trainer, trainer.should_stop)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        is_extra = trainer.state.fn == "fit" and is_extra_validation(trainer)
        self.stopping = [(stopper, stopper.state_dict()) for stopper in _stoppers(trainer)] if is_extra else []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not self.averages:
            self._save_if_due(trainer)
            self._end_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        for stopper, state in self.stopping:  # the fit that resumes has no such validation
            stopper.load_state_dict(state)
        found = figures(trainer, "val")
        if found.get(self.monitor, -math.inf) > self.best.get(self.monitor, -math.inf):
            self.best, self.best_epoch, self.is_best = found, trainer.current_epoch, True
        if not _is_last_batch(trainer):  # else other callbacks act at the epoch's end
            self._save_best(trainer)
            self._save_if_due(trainer, trainer.should_stop)
            self._end_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._save_best(trainer)
        if _is_last_batch(trainer) or self.saved_step < trainer.global_step:  # else `max_time` ended the fit within it
            self._save_last(trainer)
        self.asked = self._agreed_signal(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.opened.close()
        if _is_stopped(trainer):
            rank_zero_info("Early stopping ended this fit.")
        if not self.best and not trainer.fast_dev_run:  # ty: ignore[missing-attribute]
            rank_zero_warn(f"There is no best.ckpt, because {self.monitor} was never computed or is not a number.")
        self.asked = self._agreed_signal(trainer)
        self._end_if_asked(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        if _is_stopped(trainer) and not self.has_trained:
            rank_zero_info("Early stopping ended this fit before. To go on, give a larger --early_stopping.")

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self.opened.close()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        states = checkpoint.get("callbacks", {})
        for stopper in _stoppers(trainer):
            if stopper.state_key in states:
                states[stopper.state_key]["patience"] = stopper.patience  # else Lightning restores the old one
        for key, state in states.items():  # of a run of an earlier version
            if key.startswith("ModelCheckpoint") and state["monitor"] == self.monitor and state["best_model_score"]:
                self.best = {self.monitor: float(state["best_model_score"])}

    def _save_if_due(self, trainer: Trainer, stops: bool = False) -> None:
        seconds, steps = time.monotonic() - self.saved_at, trainer.global_step - self.saved_step
        due = stops or self.inbox.number > 0 or seconds >= self.seconds or steps >= self.steps
        if trainer.strategy.reduce_boolean_decision(due, all=False):  # clocks differ, and a signal may reach one rank
            self._save_last(trainer)
            self.asked = self._agreed_signal(trainer)

    def _save_best(self, trainer: Trainer) -> None:
        if self.is_best:
            self._save(trainer, "best.ckpt")
            self.is_best = False

    def _save_last(self, trainer: Trainer) -> None:
        self._save(trainer, "last.ckpt")
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def _save(self, trainer: Trainer, name: str) -> None:
        if trainer.fast_dev_run:  # ty: ignore[missing-attribute]
            return
        self.inbox.closed = True  # a second signal waits until the file is complete
        trainer.save_checkpoint(self.directory / name, weights_only=False)
        self.inbox.closed = False

    def _agreed_signal(self, trainer: Trainer) -> int:
        number = torch.tensor(self.inbox.number, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(number, reduce_op="max"))

    def _end_if_asked(self, trainer: Trainer) -> None:
        if not self.asked:
            return
        if self.asked == REQUEUE and trainer.is_global_zero:
            job, task = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID")
            name = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}" if task else job
            subprocess.run(["scontrol", "requeue", name], check=True)
        raise Interrupted(self.asked)


def _make_folder(folder: Path) -> None:
    with cannot_be_written(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _stoppers(trainer: Any) -> list[EarlyStopping]:
    return [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]


def _is_last_batch(trainer: Any) -> bool:
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def _is_stopped(trainer: Any) -> bool:
    return any(stopper.wait_count >= stopper.patience for stopper in _stoppers(trainer))


def checkpoints_of(trainer: Trainer) -> Checkpoints | None:
    """Returns the trainer's `Checkpoints`, if it has one."""
    return next((one for one in trainer.checkpoint_callbacks if isinstance(one, Checkpoints)), None)
