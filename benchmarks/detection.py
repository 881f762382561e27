r"""A detection config over folds or seeds, or the parts of its recipe at equal steps: AP, AP50, AP75 of the last epoch.

Nothing is selected on the held-out images. The closed form alone and the baseline (the best boxes without seeing an
image) are printed too.

    uv run python benchmarks/detection.py configs/detection/raccoon.yaml --folds 0 1 2 3 4
    uv run python benchmarks/detection.py configs/detection/raccoon.yaml --parts recipe classes none --seeds 0 1 2 \
        --trainer.max_steps 200 --trainer.val_check_interval 200
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import yaml
from runs import run

HEAD = ["--model.head", "DetectionHead"]
LOSS = [*HEAD, "--model.head.loss", "DetectionLoss"]
PARTS: dict[str, list[str]] = {
    "recipe": [],
    "classes": [*HEAD, "--model.head.closed_form", "classes"],
    "none": [],  # without its closed form
    "task_aligned": [*LOSS, "--model.head.loss.assignment", "TaskAligned"],
    "stride4": [*HEAD, "--model.head.strides", "[4, 8, 16, 32]"],
    "mosaic": ["--data.mosaic", "0.5"],
}
FIGURES = ("map", "map50", "map75")


def run_once(command: str, config: str, seed: int, changes: list[str]) -> tuple[dict[str, float], float]:
    """Runs a command; returns the last validation metrics and the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as directory:
        return run(command, config, directory, "--seed_everything", str(seed), *changes)


def without_closed_form(config: str) -> list[str]:
    callbacks = yaml.safe_load(Path(config).read_text("utf-8"))["trainer"]["callbacks"]
    return ["--trainer.callbacks", json.dumps([one for one in callbacks if one["class_path"] != "ClosedFormStart"])]


def describe(values: list[float]) -> str:
    spread = f" +- {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--folds", type=int, nargs="+", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=["recipe"])
    options, changes = parser.parse_known_args()
    folds = [["--data.dataset.splits.fold", str(fold)] for fold in options.folds] or [[]]
    for part in options.parts:
        rows = []
        for seed in options.seeds:
            for fold in folds:
                every = [*PARTS[part], *fold, *changes]
                every += without_closed_form(options.config) if part == "none" else []
                alone, _ = run_once("probe", options.config, seed, every)
                found, seconds = run_once("fit", options.config, seed, every)
                row = [found["val/map_baseline"], alone["val/map50"], *(found[f"val/{name}"] for name in FIGURES)]
                rows.append([*row, seconds])
                print(f"{part}, seed {seed} {' '.join(fold[1:])}:", *(f"{value:.3f}" for value in rows[-1]), flush=True)
        names = ["baseline AP", "closed form AP50", "AP", "AP50", "AP75", "seconds"]
        columns = zip(names, zip(*rows, strict=True), strict=True)
        print(f"{part}:", ", ".join(f"{name} {describe(list(values))}" for name, values in columns))


if __name__ == "__main__":
    main()
