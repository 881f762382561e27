"""Fine-tuning recipes on flowers5, one row each: validation accuracy after the last epoch, and minutes.

All rows are configs/classification/flowers5.yaml with a few settings changed; nothing is selected on
the validation set, the figure is that of the last epoch.

    uv run python benchmarks/flowers5.py --size 160 --seeds 3
    uv run python benchmarks/flowers5.py --size 224 --seeds 3 --rows "closed form" "closed form, then all"
"""

from __future__ import annotations

import argparse
import statistics
import tempfile

from runs import run

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


def run_row(row: str, size: int, seed: int) -> tuple[float, float]:
    """Trains one row; returns the last epoch's validation accuracy and the seconds of the whole command."""
    command, *changes = ROWS[row]
    common = ["--seed_everything", str(seed), "--data.image_size", str(size)]
    with tempfile.TemporaryDirectory() as directory:
        found, seconds = run(command, CONFIG, directory, *common, *changes)
    return found["val/accuracy"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    options = parser.parse_args()
    lines = []
    for row in options.rows:
        results = [run_row(row, options.size, options.first_seed + i) for i in range(options.seeds)]
        accuracies, seconds = zip(*results, strict=True)
        each = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        lines.append(f"{row:26}{statistics.mean(accuracies):.3f}  ({each})  {statistics.median(seconds):5.0f} s")
        print(f"[{options.size} px] {lines[-1]}", flush=True)
    print(f"\nflowers5, {options.size} px, baseline 0.200", *lines, sep="\n")


if __name__ == "__main__":
    main()
