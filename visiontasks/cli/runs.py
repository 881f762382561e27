"""Run directories: where they are, what resumes from them, and the loggers that every run has."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint
from visiontasks.tasks.resume import is_within_epoch, is_within_validation

RUN_DIR = "VISIONTASKS_RUN_DIR"  # the processes that Lightning starts for other devices inherit it


def runs_folder(root: str | None, configs: Sequence[Any]) -> Path:
    """Returns the folder of the runs of a config: `root/<config>`, named after the first file."""
    return Path(root or "runs", Path(str(configs[0])).stem if configs else "run")


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest `last.ckpt` of the fits in a folder of runs; warns about each one that is broken."""
    if inherited := os.environ.get(RUN_DIR):  # the first process has chosen
        path = Path(inherited, "last.ckpt")
        return path if path.is_file() else None
    for path in sorted(folder.glob("*/last.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            content = read_checkpoint(path)
        except InputError as error:
            rank_zero_warn(f"{error} Looking for an older run.")
            continue
        if content[VERSION_KEY].get("fit", {}).get("trainer.max_epochs") != 0:  # as a probe has
            return path
    return None


def resumed_directory(checkpoint: str | None) -> Path | None:
    """Returns the run directory of a `last.ckpt`, in which a fit that resumes from it goes on."""
    path = Path(checkpoint or "")
    return path.parent if path.name == "last.ckpt" and path.with_name("config.yaml").is_file() else None


def is_complete(checkpoint: dict[str, Any], trainer: Trainer) -> bool:
    """Whether the fit that wrote a checkpoint has done all epochs or steps of a trainer."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    done = ((epochs, trainer.max_epochs), (checkpoint["global_step"], trainer.max_steps))
    return any(limit is not None and 0 <= limit <= number for number, limit in done)


def run_directory(parent: Path) -> Path:
    """Creates a directory `parent/<time>`; raises an InputError on failure."""
    if inherited := os.environ.get(RUN_DIR):
        return Path(inherited)
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


def run_loggers(chosen: Any, directory: Path, resumed: dict[str, Any] | None = None) -> list[Any]:
    """Returns the logger of metrics.csv and the chosen ones: W&B by default, none for `false`.

    Args:
        chosen: The trainer's `logger`.
        directory: The run directory.
        resumed: The checkpoint from which a fit goes on in this directory.
    """
    if chosen is None or chosen is True:
        from visiontasks.callbacks.wandb import WandbLogger

        # an absolute path, because the service of W&B keeps the working directory in which it was started
        chosen = WandbLogger(name="/".join(directory.parts[-2:]), save_dir=str(directory.absolute()))
    csv = CSVLogger(str(directory), name="", version="", flush_logs_every_n_steps=20)
    rank_zero_only(_start_metrics)(csv, rows_before(directory / "metrics.csv", resumed) if resumed else [])
    return [csv, *(chosen if isinstance(chosen, list) else [chosen] if chosen else [])]


def rows_before(path: Path, checkpoint: dict[str, Any]) -> list[dict[str, str]]:
    """Returns the rows of a metrics.csv that a fit wrote before a checkpoint and will not write again."""
    last, kept = checkpoint["global_step"] - 1, []
    for row in read_csv(path):
        row = {name: value for name, value in row.items() if value}
        again = int(row["step"]) == last and (
            ("train/loss" in row and is_within_epoch(checkpoint))
            or ("val/loss" in row and is_within_validation(checkpoint))
        )
        if int(row["step"]) <= last and not again:
            kept.append(row)
    return kept


def _start_metrics(logger: CSVLogger, rows: list[dict[str, str]]) -> None:
    """Creates the writer now, since it removes an older metrics.csv and warns about files such as config.yaml."""
    logger.experiment.metrics = rows
    logger.experiment.save()
