"""CPU seconds of the confidence intervals of a large set: 2,000 draws of 5,000 images with 500 classes.

    python benchmarks/intervals.py

`label` has one class per image; `labels` has each class in a share of the images. Bar: 2 CPU seconds each.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from visiontasks.evaluate import bootstrap
from visiontasks.targets.label import count_classes


def label_counts(images: int, classes: int) -> np.ndarray:
    """Counts of random labels; 70 % of the predictions are right."""
    rng = np.random.default_rng(0)
    true = rng.integers(classes, size=images)
    found = np.where(rng.random(images) < 0.7, true, rng.integers(classes, size=images))
    return np.stack([count_classes(*pair, classes) for pair in zip(true[:, None], found[:, None], strict=True)])


def labels_counts(images: int, classes: int, share: float) -> np.ndarray:
    """Counts of classes that occur at random in a share of the images."""
    rng = np.random.default_rng(0)
    true = (rng.random((images, classes)) < share).astype(float)
    probabilities = 1 / (1 + np.exp(2 - 2 * true - rng.normal(size=true.shape)))
    return np.stack([probabilities, true, np.full_like(true, 0.5)], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=500)
    options = parser.parse_args()
    images, classes = options.images, options.classes
    shown = Table("target", "share of images with a class", "CPU seconds")
    cases = [("label", 1 / classes, label_counts(images, classes))]
    cases += [("labels", share, labels_counts(images, classes, share)) for share in (0.003, 0.01, 0.1, 0.5)]
    for key, share, counts in cases:
        start = time.process_time()
        bootstrap(key, counts)
        shown.add_row(key, f"{share:g}", f"{time.process_time() - start:.2f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
