"""Settings of the trainer that would break a run or do nothing, refused before it begins."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError

REFUSED = {  # callbacks of Lightning, and what to use instead
    "BackboneFinetuning": "It freezes again after a resume and trains frozen batch norm. Use FreezeBackbone.",
    "BatchSizeFinder": "It would train with weights and an order of its own. Give --data.batch_size.",
    "LearningRateFinder": "Use `visiontasks lr_find`.",
    "ModelPruning": "It renames the weights, so that no checkpoint could be opened.",
    "StochasticWeightAveraging": "It changes the weights after the last checkpoint. Use EMAWeightAveraging.",
    "Timer": "Use --trainer.max_time DD:HH:MM:SS.",
}
LOWEST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "limit_train_batches": 0,
    "limit_val_batches": 0,
    "limit_test_batches": 0,
    "log_every_n_steps": 0,
    "num_nodes": 1,
    "overfit_batches": 0,
    "reload_dataloaders_every_n_epochs": 0,
}
SEEDS = 2**32  # numpy's limit
NONE = "there is nothing to do"


def check_flags(command: str, config: Mapping[str, Any]) -> None:
    """Checks the settings of a command; raises an InputError that names the first wrong one."""
    trainer, seed, patience = config["trainer"], config["seed_everything"], config.get("early_stopping")
    for name, lowest in LOWEST.items():
        if (value := trainer.get(name)) is not None and not value >= lowest:
            raise InputError(f"trainer.{name}: {value} must be {lowest} or more.")
    if type(seed) is int and not 0 <= seed < SEEDS:
        raise InputError(f"seed_everything: {seed} must be 0 or more, and below {SEEDS}.")
    if patience is not None and patience < 1:
        raise InputError(f"early_stopping: {patience} must be 1 or more. Leave it out to train to the end.")
    if trainer.get("barebones"):
        raise InputError("trainer.barebones: true would leave out metrics and checkpoints. Remove it.")
    for name in _callbacks(trainer):
        if name in REFUSED:
            raise InputError(f"trainer.callbacks: {name} does not work here. {REFUSED[name]}")
    if command in ("fit", "lr_find", "probe"):
        _check_training(command, trainer, patience)
    if command == "test" and trainer.get("limit_test_batches") == 0:
        raise InputError(f"trainer.limit_test_batches: 0: {NONE}.")
    if command in ("validate", "probe") and trainer.get("limit_val_batches") == 0:
        raise InputError(f"trainer.limit_val_batches: 0: {NONE}.")


def _check_training(command: str, trainer: Mapping[str, Any], patience: int | None) -> None:
    for name in ("limit_train_batches", *(("max_epochs", "max_steps") if command == "fit" else ())):
        if trainer.get(name) == 0:
            raise InputError(f"trainer.{name}: 0: {NONE}. Use `probe` or `validate` to train nothing.")
    if isinstance(longest := trainer.get("max_time"), str) and not longest.strip("0: "):
        raise InputError(f"trainer.max_time: {longest}: {NONE}.")
    interval = trainer.get("val_check_interval")
    if isinstance(interval, int | float) and not interval > 0:
        raise InputError(f"trainer.val_check_interval: {interval} must be more than 0.")
    if trainer.get("limit_val_batches") == 0 and command == "fit":
        if patience:
            raise InputError("early_stopping: needs a validation, but trainer.limit_val_batches is 0. Remove one.")
        rank_zero_warn("trainer.limit_val_batches is 0: there is no validation, and so no best.ckpt.")


def _callbacks(trainer: Mapping[str, Any]) -> list[str]:
    given = trainer.get("callbacks") or []
    chosen = given if isinstance(given, list) else [given]
    return [str(one.get("class_path", "")).rpartition(".")[2] for one in chosen]
