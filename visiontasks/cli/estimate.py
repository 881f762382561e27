"""How long a fit of a config will take on this machine, from a few timed steps."""

import json
import logging
import math
import sys
import tempfile
import warnings
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

import torch

from visiontasks.cli.parser import read_config
from visiontasks.cli.training import main as train

STEPS, WARM_UP = 6, 2  # number of steps, and of those at the start that are slower and not timed
FORWARD = 1 / 3  # share of a step that a prediction takes


def estimate(config: Path, counts: dict[str, int]) -> tuple[float, float]:
    """Trains a few steps in a temporary folder.

    Args:
        config: The config.
        counts: The number of images of each split.

    Returns:
        The seconds that the whole fit will take, and the memory in bytes that it needed so far, NaN if not known.
    """
    content = read_config(config)
    trainer = content["trainer"]
    callbacks = [one for one in trainer.get("callbacks", []) if one["class_path"] != "ClosedFormStart"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as quiet:
        quiet.enter_context(redirect_stdout(StringIO()))
        quiet.enter_context(warnings.catch_warnings(action="ignore"))
        logging.disable(logging.CRITICAL)
        quiet.callback(logging.disable, logging.NOTSET)
        settings = {
            "max_steps": STEPS,
            "callbacks": json.dumps(callbacks),
            "default_root_dir": folder,
            "profiler": "simple",
            "logger": "false",
            "limit_val_batches": 0,
            "enable_progress_bar": "false",
            "enable_model_summary": "false",
            "enable_checkpointing": "false",
        }
        args = [part for key, value in settings.items() for part in (f"--trainer.{key}", str(value))]
        run: Any = train("fit", ["-c", str(config), *args]).trainer
        step = _seconds_per_step(run.profiler.recorded_durations)
        memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _memory()
    batch_size, has_closed_form = content["data"]["batch_size"], len(callbacks) < len(trainer.get("callbacks", []))
    batches = {split: math.ceil(count / batch_size) for split, count in counts.items()}
    return step * _steps(trainer, batches, has_closed_form), memory


def _seconds_per_step(durations: dict[str, list[float]]) -> float:
    parts = [seconds for name, seconds in durations.items() if name.endswith(("run_training_batch", "dataloader_next"))]
    return sum(median(seconds[WARM_UP:] or seconds) for seconds in parts)


def _steps(trainer: dict[str, Any], batches: dict[str, int], closed_form: bool) -> float:
    """Returns the steps of a fit, where a prediction of a batch counts as a part of a step."""
    epochs = trainer.get("max_epochs", -1)
    steps = trainer["max_steps"] if epochs < 0 else epochs * batches["train"]
    interval = trainer.get("val_check_interval")
    validations = steps / interval if interval else epochs / trainer.get("check_val_every_n_epoch", 1)
    return steps + FORWARD * (validations * batches["val"] + closed_form * batches["train"])


def _memory() -> float:
    """Returns the most memory that this process has used, in bytes; NaN on Windows, where Python does not know it."""
    try:
        import resource
    except ImportError:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
