"""What the benchmarks of recipes share: a command run to its end, the figures that it leaves, its seconds."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from visiontasks.cli import main as visiontasks

QUIET = ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]


def run(command: str, config: str, directory: str | Path, *changes: str) -> tuple[dict[str, float], float]:
    """Runs a command on a config into a directory of its own.

    Returns:
        The last values of `val/...` (of `test`: `test/...`) by name, and the seconds of the whole command.
    """
    start = time.perf_counter()
    visiontasks([command, "-c", config, *QUIET, "--trainer.default_root_dir", str(directory), *changes])
    seconds = time.perf_counter() - start
    (metrics,) = Path(directory).glob("*/*/metrics.csv")
    stage = "test/" if command == "test" else "val/"
    with metrics.open() as file:
        lines = [line for line in csv.DictReader(file) if any(v for k, v in line.items() if k.startswith(stage))]
    return {name: float(value) for name, value in lines[-1].items() if name.startswith(stage) and value}, seconds
