"""Run directories: where they are, what resumes from them, and the loggers that every run has."""

import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.callbacks.wandb import WandbLogger, default_logger, log_config
from visiontasks.cli.words import values_of
from visiontasks.core.errors import InputError
from visiontasks.core.files import atomic_write, read_csv, set_aside, sweep, write_text
from visiontasks.core.redact import redact
from visiontasks.tasks.checkpoint import VERSION_KEY
from visiontasks.tasks.resume import is_within_epoch, is_within_validation

RUN_DIR = "VISIONTASKS_RUN_DIR"  # the processes that Lightning starts for other devices inherit it


def runs_folder(root: str | None, args: Sequence[str]) -> Path:
    """Returns the folder of the runs of a command with these arguments: `root/<config>`, named after the first config,
    or `root/<config>-<data>` if an argument names the data."""
    name = Path(next(iter(values_of(args, "-c", "--config")), "run")).stem
    keys = [f"--data.dataset.{part}{key}" for key in ("root", "path", "annotations") for part in ("", "init_args.")]
    if given := values_of(args, *keys):
        data = Path(os.path.abspath(given[-1]))
        name += "-" + re.sub(r"[^\w.-]+", "_", data.name if data.is_dir() else data.stem).strip("_.")
    return Path(root or "runs", name)


def run_directory(parent: Path, name: str | None = None) -> Path:
    """Creates a directory `parent/<time>`, or of a given name or with a number; raises an InputError on failure."""
    if inherited := os.environ.get(RUN_DIR):
        return Path(inherited)
    name = name or datetime.now().strftime("%Y%m%d-%H%M%S")
    if getattr(rank_zero_only, "rank", 0):  # torchrun or SLURM: rank 0 creates it and broadcasts the checkpoint path
        return parent / name
    for number in range(1000):
        path = parent / (f"{name}-{number}" if number else name)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not number:
                continue  # another run may have removed the empty parent just now
            raise InputError(f"{path}: the run directory cannot be created ({error.strerror}).") from None
        os.environ[RUN_DIR] = str(path)
        return path
    raise InputError(f"{parent}: too many runs are called {name}.")


@contextmanager
def new_run(parent: Path, name: str | None = None) -> Generator[Path]:
    """Yields what `run_directory` creates; at the end, the folders that are still empty are removed."""
    is_first = RUN_DIR not in os.environ and not getattr(rank_zero_only, "rank", 0)
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    directory = run_directory(parent, name)
    try:
        yield directory
    finally:
        with suppress(OSError):  # the first one that is not empty keeps those above it
            for folder in (directory, *missing) if is_first else ():
                folder.rmdir()


class MetricsLogger(CSVLogger):
    """Writes metrics.csv; a fault while it is written leaves the old file."""

    @rank_zero_only
    def save(self) -> None:
        writer, path = self.experiment, Path(self.log_dir, "metrics.csv")
        if not writer.metrics:
            return
        with atomic_write(path) as part:
            part.unlink()  # the writer adds the header to a new file
            if path.is_file():
                shutil.copyfile(path, part)
            writer.metrics_file_path = str(part)
            super().save()


def run_loggers(chosen: Any, directory: Path, resumed: dict[str, Any] | None = None) -> list[Any]:
    """Returns the logger of metrics.csv and the chosen ones: W&B by default, none for `false`.

    Args:
        chosen: The trainer's `logger`.
        directory: The run directory.
        resumed: The checkpoint from which a fit goes on in this directory.
    """
    if chosen is None or chosen is True:
        chosen = default_logger(directory)
    others = chosen if isinstance(chosen, list) else [chosen] if chosen else []
    for logger in others:
        if isinstance(logger, WandbLogger):
            logger.keep_id(directory)
    csv = MetricsLogger(str(directory), name="", version="", flush_logs_every_n_steps=20)
    rank_zero_only(_start_metrics)(csv, directory / "metrics.csv", resumed)
    return [csv, *others]


def rows_before(rows: Sequence[dict[str, str]], checkpoint: dict[str, Any]) -> list[dict[str, str]]:
    """Returns the whole rows of a metrics.csv that a fit wrote before a checkpoint and will not write again."""
    last, again = checkpoint["global_step"] - 1, set()
    if is_within_epoch(checkpoint):
        again.add("train/loss")
    if is_within_validation(checkpoint):
        again.add("val/loss")
    again.update(checkpoint[VERSION_KEY].get("extra", ()))  # of a fit that ended within an epoch

    def follows(row: dict[str, str]) -> bool:
        step = int(row["step"])
        return step > last or (step == last and any(row.get(name) for name in again))

    return [row for row in rows if row.get("step", "").isdecimal() and not follows(row)]


def _start_metrics(logger: CSVLogger, path: Path, resumed: dict[str, Any] | None) -> None:
    """Creates the writer now, since it warns about files such as config.yaml, and removes an older metrics.csv."""
    sweep(path.parent, path.name)
    rows = read_csv(path)
    kept = rows_before(rows, resumed) if resumed else []
    if kept != rows:
        set_aside(path)
    logger.experiment.metrics = [{name: value for name, value in row.items() if value} for row in kept]
    logger.experiment.save()


class SaveConfig(SaveConfigCallback):
    """Callback that writes the resolved config, without secrets, to the run directory and to W&B."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        config = redact(yaml.safe_load(self.parser.dump(self.config, skip_none=False)))
        path = Path(trainer.default_root_dir, self.config_filename)
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        if path.is_file() and path.read_text("utf-8") != text:  # of the fit that this one resumes
            set_aside(path)
        write_text(path, text)
        log_config(trainer.loggers, config | {"config": None})
