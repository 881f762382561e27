"""Run directories, and the checkpoints and loggers that every run has."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.core.errors import InputError

RUN_DIR = "VISIONTASKS_RUN_DIR"  # the processes that Lightning starts for other devices inherit it


def run_directory(root: str | None, configs: Any) -> Path:
    """Creates a directory `root/<config>/<time>`, named after the first config; raises an InputError on failure."""
    if inherited := os.environ.get(RUN_DIR):
        return Path(inherited)
    parent = Path(root or "runs", Path(str(configs[0])).stem if configs else "run")
    time = datetime.now().strftime("%Y%m%d-%H%M%S")
    if getattr(rank_zero_only, "rank", 0):  # torchrun or SLURM: rank 0 creates it and broadcasts the checkpoint path
        return parent / time
    for number in range(1000):
        path = parent / (f"{time}-{number}" if number else time)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"{path}: the run directory cannot be created ({error.strerror}).") from None
        os.environ[RUN_DIR] = str(path)
        return path
    raise InputError(f"{parent}: too many runs at {time}.")


def run_checkpoints(directory: Path, monitor: str) -> list[Callback]:
    """Returns the callbacks that write `best.ckpt` and `last.ckpt` at the end of each epoch."""
    options: dict[str, Any] = {
        "dirpath": directory,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
        "auto_insert_metric_name": False,
    }
    # not `save_last=True`, which writes the last of the best epochs
    best = ModelCheckpoint(filename="best", monitor=monitor, mode="max", **options)
    return [best, ModelCheckpoint(filename="last", **options)]


def run_loggers(chosen: Any, directory: Path) -> list[Any]:
    """Returns the logger of metrics.csv and the chosen ones: W&B by default, none for `false`."""
    if chosen is None or chosen is True:
        from visiontasks.callbacks.wandb import default_logger

        chosen = default_logger(directory)
    csv = CSVLogger(str(directory), name="", version="", flush_logs_every_n_steps=20)
    rank_zero_only(lambda: csv.experiment)()  # now, since it warns about files such as config.yaml
    return [csv, *(chosen if isinstance(chosen, list) else [chosen] if chosen else [])]
