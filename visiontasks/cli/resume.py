"""What a fit resumes from: the checkpoint that is meant, and the command that continues a fit."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.cli.given import BEST, LAST, ckpt_path, find_model
from visiontasks.cli.runs import RUN_DIR, runs_folder
from visiontasks.cli.words import values_of
from visiontasks.cli.written import program
from visiontasks.core.errors import InputError
from visiontasks.core.files import atomic_write
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint


def find_checkpoint(command: str, args: Sequence[str], configs: Sequence[dict[str, Any]]) -> str | None:
    """Returns the given checkpoint, or for a fit with `auto` or `last` that of the newest run.

    Args:
        command: Name of the command.
        args: Arguments of the command.
        configs: Contents of its config files.

    Raises:
        InputError: There is none for `last`.
    """
    given = ckpt_path(args)
    if command == "fit" and given is None and os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        given = "auto"  # the job began before
    if command != "fit" or given not in ("auto", "last"):
        return given and find_model(given, LAST if command == "fit" else BEST)
    roots = [trainer.get("default_root_dir") for one in configs if isinstance(trainer := one.get("trainer"), dict)]
    roots += values_of(args, "--trainer.default_root_dir")
    folder = runs_folder(next(filter(None, reversed(roots)), None), args)
    found = newest_checkpoint(folder)
    if found is None and given == "last":
        raise InputError(f"--ckpt_path last: no run in {folder} has a last.ckpt. `auto` would start one.")
    return str(found) if found else None


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
    if checkpoint is None or Path(checkpoint).name != "last.ckpt":
        return None
    folder = Path(checkpoint).parent
    return folder if (folder / "config.yaml").is_file() else None


def keep_best(checkpoint: str, run_dir: Path) -> None:
    """Copies `best.ckpt`, whose figures a checkpoint beside it holds, to the directory of a run that starts from it."""
    best = Path(checkpoint).with_name("best.ckpt")
    if best.is_file():
        with atomic_write(run_dir / best.name) as part:
            shutil.copyfile(best, part)


def reached_limit(checkpoint: dict[str, Any], trainer: Trainer) -> str | None:
    """Returns the limit of a trainer that the fit which wrote a checkpoint has reached: `max_epochs`, `max_steps`."""
    done = {"max_epochs": checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]}
    done["max_steps"] = checkpoint["global_step"]
    return next((name for name, number in done.items() if 0 <= (getattr(trainer, name) or -1) <= number), None)


def resume_command(args: Sequence[str], run_dir: Path) -> str:
    """Returns the command that continues a fit, whose arguments are given."""
    pairs = zip(["", *args], args, strict=False)
    kept = [argument for before, argument in pairs if "--ckpt_path" not in (before, argument.partition("=")[0])]
    return shlex.join([*program(), "fit", *kept, "--ckpt_path", str(run_dir / "last.ckpt")])
