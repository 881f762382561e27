"""Fine-tuning recipes on flowers5, one row each: validation accuracy after the last epoch, and minutes.

All rows are configs/classification/flowers5.yaml with a few settings changed; nothing is selected on
the validation set, the figure is that of the last epoch.

    uv run python benchmarks/flowers5.py --size 160 --seeds 3
    uv run python benchmarks/flowers5.py --size 224 --seeds 3 --rows "closed form" "closed form, then all"
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

from visiontasks.cli import main as visiontasks

CONFIG = "configs/classification/flowers5.yaml"
NO_START = ["--trainer.callbacks", "null"]
FREEZE = ["--trainer.callbacks", "FreezeBackbone", "--trainer.callbacks.epochs"]
ROWS = {
    "closed form": ["probe"],
    "frozen": ["fit", *FREEZE, "-1", "--model.optimizer.lr", "3e-3"],
    "all, batch norm trains": [
        "fit",
        *NO_START,
        "--model.backbone.batch_norm",
        "train",
        "--model.optimizer.lr",
        "1e-3",
    ],
    "all, batch norm in eval": ["fit", *NO_START, "--model.optimizer.lr", "1e-3"],
    "two phases": ["fit", *FREEZE, "2", "--trainer.callbacks.lr", "5e-4", "--model.optimizer.lr", "3e-3"],
    "closed form, then all": ["fit"],
    "random weights": ["fit", *NO_START, "--model.backbone.pretrained", "false", "--model.optimizer.lr", "2e-3"],
}


def run(row: str, size: int, seed: int) -> tuple[float, float]:
    """Trains one row; returns the last epoch's validation accuracy and the seconds of the whole command."""
    command, *changes = ROWS[row]
    with tempfile.TemporaryDirectory() as directory:
        common = ["--seed_everything", str(seed), "--data.image_size", str(size), "--trainer.logger", "false"]
        quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
        start = time.perf_counter()
        visiontasks([command, "-c", CONFIG, *common, *quiet, "--trainer.default_root_dir", directory, *changes])
        seconds = time.perf_counter() - start
        (metrics,) = Path(directory).glob("*/*/metrics.csv")
        with metrics.open() as file:
            accuracies = [float(line["val/accuracy"]) for line in csv.DictReader(file) if line.get("val/accuracy")]
    return accuracies[-1], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    options = parser.parse_args()
    lines = []
    for row in options.rows:
        results = [run(row, options.size, options.first_seed + i) for i in range(options.seeds)]
        accuracies, seconds = zip(*results, strict=True)
        each = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        lines.append(f"{row:26}{statistics.mean(accuracies):.3f}  ({each})  {statistics.median(seconds):5.0f} s")
        print(f"[{options.size} px] {lines[-1]}", flush=True)
    print(f"\nflowers5, {options.size} px, floor 0.200", *lines, sep="\n")


if __name__ == "__main__":
    main()
