"""CPU seconds from the command to the help, and to the first training step.

    python benchmarks/startup.py

Three processes, each timed by user + system time and repeated in turn:

- `help`: `visiontasks --help`.
- `imports`: `import torch`, LightningCLI and timm, what any Lightning project on timm pays.
- `fit`: `train.py fit` on eight generated pictures, ended at the start of its first training step.

Bars: help below 0.5 s; fit at most 1.15 times imports, both ended without Python's own clearing up, which
takes a second or two. Compiled Python goes to a folder of its own and a round before the first fills it,
so that no run pays for compiling.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch import Callback
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
CONFIG = """
trainer:
  accelerator: cpu
  max_epochs: 1
  callbacks:
    - class_path: startup.FirstStep
model:
  class_path: ClassificationTask
  init_args:
    backbone: {name: test_resnet, pretrained: false}
data:
  dataset:
    class_path: Shapes
    init_args: {count: 8}
  image_size: 32
"""
BARS = {"help": "< 0.5 s", "fit": "<= 1.15 x imports"}


class FirstStep(Callback):
    """Ends the process at the first training step, and leaves `first-step` in the working directory."""

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        Path("first-step").touch()
        os._exit(0)


def commands(config: Path) -> dict[str, list[str]]:
    """The three command lines."""
    fit = [str(ROOT / "train.py"), "fit", "-c", str(config), "--trainer.logger", "false"]
    return {
        "help": [str(Path(sys.executable).with_name("visiontasks")), "--help"],
        "imports": [
            sys.executable,
            "-c",
            "import os, torch; from lightning.pytorch.cli import LightningCLI; import timm; os._exit(0)",
        ],
        "fit": [sys.executable, *fit],
    }


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of a process and its children, run in `folder`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks"), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that each process is run (default: 3)")
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "startup.yaml"
        config.write_text(CONFIG)
        runs = commands(config)
        seconds: dict[str, list[float]] = {case: [] for case in runs}
        for number in range(rounds + 1):
            for case, command in runs.items():
                found = cpu_seconds(command, folder)
                if number:
                    seconds[case].append(found)
        if not (folder / "first-step").exists():
            sys.exit("fit ended before its first training step.")
    table = Table(title=f"CPU seconds, {rounds} rounds", title_justify="left")
    for column in ("process", "median", "least", "bar"):
        table.add_column(column, justify="left" if column in ("process", "bar") else "right")
    for case, values in seconds.items():
        table.add_row(case, f"{median(values):.2f}", f"{min(values):.2f}", BARS.get(case, ""))
    Console().print(table)
    print(f"fit / imports: {median(seconds['fit']) / median(seconds['imports']):.3f}")


if __name__ == "__main__":
    main()
