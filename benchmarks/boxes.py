"""A localization config over the folds of its set: mean IoU and share above 0.5 of the last epoch, and seconds.

Each fold is held out once, and nothing is selected on it. The closed form alone (of a head without its convolution)
and the baseline, the mean or median training box, stand beside it.

    uv run python benchmarks/boxes.py configs/localization/raccoon.yaml
    uv run python benchmarks/boxes.py configs/localization/pets.yaml --folds 4
"""

from __future__ import annotations

import argparse
import statistics
import tempfile

from runs import run

LINEAR = ["--model.init_args.box_head", "BoxHead", "--model.init_args.box_head.hidden", "0"]


def run_fold(command: str, config: str, fold: int, changes: list[str]) -> tuple[dict[str, float], float]:
    """Trains one fold; returns the last epoch's validation metrics and the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as directory:
        return run(command, config, directory, "--data.dataset.splits.fold", str(fold), *changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options, changes = parser.parse_known_args()
    rows = []
    for fold in options.folds:
        probe, _ = run_fold("probe", options.config, fold, [*changes, *LINEAR])
        found, seconds = run_fold("fit", options.config, fold, changes)
        label = [found["val/accuracy"]] if "val/accuracy" in found else []
        rows.append(
            [found["val/iou_baseline"], probe["val/iou"], found["val/iou"], found["val/iou50"], seconds, *label]
        )
        print(f"fold {fold}:", " ".join(f"{value:.3f}" for value in rows[-1]), flush=True)
    names = ["baseline", "closed form", "IoU", "above 0.5", "seconds", "accuracy"]
    print(f"\n{options.config}, mean of {len(rows)} folds:")
    for name, values in zip(names, zip(*rows, strict=True), strict=False):
        print(f"  {name:12} {statistics.mean(values):.3f}  ({' '.join(f'{value:.3f}' for value in values)})")


if __name__ == "__main__":
    main()
