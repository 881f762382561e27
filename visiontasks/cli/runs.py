"""One run, one directory: where it lies, and what is always written there."""

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
    """Makes a new directory `root/<config>/<time>`; the first config file gives the name.

    Raises:
        InputError: It cannot be made.
    """
    if inherited := os.environ.get(RUN_DIR):
        return Path(inherited)
    name = Path(str(configs[0])).stem if configs else "run"
    parent = Path(root or "runs") / name
    time = datetime.now().strftime("%Y%m%d-%H%M%S")
    if getattr(rank_zero_only, "rank", 0):  # of torchrun or SLURM; rank 0 makes it, and tells where checkpoints go
        return parent / time
    for number in range(1000):
        path = parent / (f"{time}-{number}" if number else time)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"{path}: the run directory cannot be made ({error.strerror}).") from None
        os.environ[RUN_DIR] = str(path)
        return path
    raise InputError(f"{parent}: too many runs at {time}.")


def run_checkpoints(directory: Path, monitor: str) -> list[Callback]:
    """`best.ckpt` and `last.ckpt`, written at the end of each epoch.

    Two callbacks, since Lightning's `save_last` is of the last epoch that was among the best.
    """
    options: dict[str, Any] = {
        "dirpath": directory,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
        "auto_insert_metric_name": False,
    }
    best = ModelCheckpoint(filename="best", monitor=monitor, mode="max", **options)
    return [best, ModelCheckpoint(filename="last", **options)]


def run_loggers(chosen: Any, directory: Path) -> list[Any]:
    """W&B unless something else was chosen (`false` for none), and always metrics.csv."""
    if chosen is None or chosen is True:
        from visiontasks.callbacks.wandb import WandbLogger

        chosen = WandbLogger(name="/".join(directory.parts[-2:]), save_dir=str(directory))
    csv = CSVLogger(str(directory), name="", version="", flush_logs_every_n_steps=20)
    rank_zero_only(lambda: csv.experiment)()  # before config.yaml is there: it warns of a directory in use
    others = [] if not chosen else chosen if isinstance(chosen, list) else [chosen]
    return [csv, *others]
