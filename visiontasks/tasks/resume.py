"""Resuming a fit: what the config says takes effect or is refused, whatever the checkpoint says."""

import inspect
import math
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.compat import resume_at_the_end_of_epochs
from visiontasks.core.errors import InputError
from visiontasks.tasks.checkpoint import VERSION_KEY
from visiontasks.tasks.figures import StageFigures

SAME_STATE = {"DefaultAdamW": "AdamW"}


def add_fit_state(checkpoint: dict[str, Any], trainer: Trainer, figures: StageFigures) -> None:
    """Adds to a checkpoint what Lightning leaves out: other settings, and the training figures within an epoch."""
    loops, stored = checkpoint["loops"]["fit_loop"], checkpoint[VERSION_KEY]
    stored["fit"] = _settings(trainer)
    is_extra = is_extra_validation(trainer)
    if is_within_validation(checkpoint):  # its figures so far are not saved, so it has to begin again
        progress, again = loops["epoch_loop.val_loop.batch_progress"], not is_extra
        before = progress["total"]["completed"] - progress["current"]["completed"]
        for name, done in (("total", before), ("current", 0)):
            progress[name] |= {"ready": done + again, "started": done + again, "processed": done, "completed": done}
    if is_within_epoch(checkpoint):
        stored["figures"] = figures.state()
    if is_extra:  # rows that a fit that goes on has not: Lightning also logs the last step of each fit
        is_logged = trainer.global_step % trainer.log_every_n_steps == 0  # ty: ignore[missing-attribute]
        stored["extra"] = ["val/loss", *([] if is_logged else ["train/loss_step"])]
        if is_within_epoch(checkpoint):
            for progress in (loops["epoch_loop.batch_progress"][name] for name in ("total", "current")):
                progress["completed"] = progress["processed"] - 1  # as it was before this validation


def is_validation_due(trainer: Trainer) -> bool:
    """Whether a validation follows the current training batch, if the fit goes on."""
    interval, loop = trainer.val_check_batch, trainer.fit_loop
    done = 1 + (loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx)
    return interval is not None and done % interval == 0


def is_extra_validation(trainer: Trainer) -> bool:
    """Whether a validation here is one that Lightning adds because the fit ends, as after `max_time`."""
    return trainer.should_stop and not is_validation_due(trainer)


def updates_per_epoch(trainer: Trainer) -> int:
    """Returns the number of updates of the weights in an epoch."""
    return max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))


def check_fit_state(checkpoint: dict[str, Any], path: str) -> None:
    """Raises an `InputError` if a checkpoint has no state of a fit, or not in the form of one."""
    try:
        is_within_epoch(checkpoint)
        is_within_validation(checkpoint)
        counts = [checkpoint["global_step"], checkpoint["lr_schedulers"][0]["last_epoch"]]
        heads, backbone = checkpoint["optimizer_states"][0]["param_groups"]
        tables = [checkpoint["callbacks"], heads, backbone, checkpoint[VERSION_KEY].get("fit", {})]
        if all(isinstance(one, int) for one in counts) and all(isinstance(one, dict) for one in tables):
            return
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        pass
    raise InputError(
        f"{path}: has no state of a fit that could go on. Start one from its weights with `--model.weights {path}`."
    )


def is_within_epoch(checkpoint: dict[str, Any]) -> bool:
    """Whether a checkpoint was written within an epoch, not at its end."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    return epochs["ready"] > epochs["processed"]


def is_within_validation(checkpoint: dict[str, Any]) -> bool:
    """Whether a checkpoint was written within a validation, which begins again when a fit resumes."""
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    return batches["ready"] > batches["completed"]


def adapt_checkpoint(checkpoint: dict[str, Any], task: Any) -> None:
    """Changes the states in a checkpoint to the settings of the fit that resumes, and prints what is new.

    The state of the optimizer is kept, and its options are replaced. The schedule is that of the new length, at the
    place of the epochs done, or of the updates done if the fit ends after `max_steps`.

    Args:
        checkpoint: As Lightning loaded it, but not yet restored.
        task: A `VisionTask` whose trainer has the optimizer, the scheduler and the training loader.

    Raises:
        InputError: A new setting could not take effect, or would change the rest of the current epoch.
    """
    trainer = task.trainer
    resume_at_the_end_of_epochs(trainer)
    _check_settings(checkpoint, trainer)
    kind, known = (_optimizer_name(one) for one in (task.hparams, checkpoint["hyper_parameters"]))
    if kind != known:
        raise InputError(
            f"model.optimizer: {kind} cannot continue with the state of {known}. Use {known}, or start a new fit from "
            f"the weights with `--model.weights {trainer.ckpt_path}`."
        )
    optimizer, scheduler = trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler
    saved, position = checkpoint["optimizer_states"][0]["param_groups"], checkpoint["lr_schedulers"][0]
    if trainer.max_steps == -1 and not is_within_epoch(checkpoint):
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        position["last_epoch"] = epochs * updates_per_epoch(trainer)
    phase = [one for one in task.phases if one.epoch * updates_per_epoch(trainer) <= position["last_epoch"]][-1]
    if phase.lr is not None and position["base_lrs"] != scheduler.base_lrs:
        raise InputError(
            f"model.optimizer.lr: {scheduler.base_lrs[0]:g} has no effect, because FreezeBackbone sets the rate from "
            f"epoch {phase.epoch + 1} on: lr {phase.lr:g}. Change that, and leave the rate of the optimizer as it was: "
            f"{position['base_lrs'][0]:g}."
        )
    factors = [factor(position["last_epoch"]) for factor in scheduler.lr_lambdas]
    rates = [base * factor for base, factor in zip(scheduler.base_lrs, factors, strict=True)]
    constructors = [inspect.signature(cls.__init__).parameters for cls in type(optimizer).__mro__]
    options = {name for parameters in constructors for name in parameters if name != "params"}
    for old, group, rate in zip(saved, optimizer.param_groups, rates, strict=True):
        new = {name: value for name, value in group.items() if name in options & group.keys()}  # not what it counts
        old |= new | {"lr": rate, "initial_lr": group["initial_lr"]}
    position |= {"base_lrs": scheduler.base_lrs, "_last_lr": rates}


def _settings(trainer: Trainer) -> dict[str, Any]:
    """Returns the settings of a fit beside those of the model, by their names in a config."""
    names = ("max_epochs", "max_steps", "accumulate_grad_batches", "overfit_batches")
    found = {f"trainer.{name}": getattr(trainer, name) for name in names}
    found |= {f"data.{name}": getattr(trainer.datamodule, name, None) for name in ("batch_size", "balance", "seed")}  # ty: ignore
    return found | {"batches per epoch": trainer.num_training_batches}


def _check_settings(checkpoint: dict[str, Any], trainer: Trainer) -> None:
    stored = checkpoint[VERSION_KEY]
    known, own = stored.get("fit", {}), _settings(trainer)
    changed = {name: (known[name], value) for name, value in own.items() if known.get(name, value) != value}
    for name, (old, new) in changed.items():
        rank_zero_info(f"{name}: {old} in the checkpoint, {new} from now on.")
    fingerprint = getattr(trainer.datamodule, "fingerprint", None)  # ty: ignore[missing-attribute]
    if fingerprint != stored.get("data"):
        changed["data.dataset"] = stored.get("data"), fingerprint
        rank_zero_info(
            "data.dataset: the names or targets of the training images are not those of the checkpoint. What was "
            "counted in those stays in use: class frequencies (for the loss and the baseline), means and deviations. "
            "`--model.weights` starts a new fit, which counts again."
        )
    fixed = changed.keys() - {"trainer.max_epochs", "trainer.max_steps", "data.batch_size"}
    if fixed and is_within_epoch(checkpoint):
        name = min(fixed)
        old, new = changed[name]
        raise InputError(
            f"{trainer.ckpt_path}: written within an epoch. Its rest needs the same {name}: {old}, not {new}. "
            "Give the old value, or start a new fit from the weights with `--model.weights`."
        )


def _optimizer_name(description: dict[str, Any]) -> str:
    name = description["init_args"].get("optimizer", {}).get("class_path", "DefaultAdamW").rpartition(".")[2]
    return SAME_STATE.get(name, name)
