"""Several labels per photo: breed and species of Oxford-IIIT Pet, and the baseline beside.

The published trainval list is divided into train and every fifth photo for val; figures are those of the published
test list with the last epoch's weights and the thresholds that were chosen on val.

    uv run python benchmarks/labels.py
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from runs import run

CONFIG = "configs/multilabel/csv.yaml"
SPECIES = {"1": "cat", "2": "dog"}


def write_table(root: Path, table: Path) -> None:
    """Writes path, label (breed and species) and split of every listed photo."""
    rows = []
    for part in ("trainval", "test"):
        lines = (root / "annotations" / f"{part}.txt").read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            name, _, species, _ = line.split()
            split = part if part == "test" else "train" if number % 5 else "val"
            rows.append([f"{name}.jpg", f"{name.rpartition('_')[0]}; {SPECIES[species]}", split])
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split"], *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/pets3/oxford-iiit-pet"))
    options, changes = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        write_table(options.root, table := Path(folder, "pets.csv"))
        data = ["--data.dataset.path", str(table), "--data.dataset.root", str(options.root / "images")]
        found, seconds = run("fit", CONFIG, Path(folder, "fit"), *data, *changes)
        (checkpoint,) = Path(folder, "fit").glob("*/*/last.ckpt")
        tested, _ = run("test", CONFIG, Path(folder, "test"), *data, "--ckpt_path", str(checkpoint), *changes)
    for name, value in {**found, **tested, "seconds": seconds}.items():
        print(f"{name:20}{value:.4f}")


if __name__ == "__main__":
    main()
