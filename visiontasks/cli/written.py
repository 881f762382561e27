"""What a command has written, and the command that may follow."""

import shlex
import sys
from pathlib import Path

from visiontasks.core.tables import print_pairs

FILES = {
    "best.ckpt": "the best model",
    "last.ckpt": "the newest state, to resume",
    "report.html": "figures, curves and images, as one page",
    "*_panels.png": "images with the highest loss",
    "*confusion.png": "which classes are taken for which",
    "*per_class.csv": "metrics of each class",
    "curves.png": "loss and metric by epoch",
    "metrics.csv": "all metrics",
    "augmentation.png": "training images, augmented",
    "batch.png": "a batch of training images",
    "lr_find.png": "loss over learning rate",
}


def program() -> list[str]:
    """Returns how the user has called this program."""
    return ["python", "train.py"] if Path(sys.argv[0]).name == "train.py" else ["visiontasks"]


def print_written(directory: Path) -> None:
    """Prints the files of a run directory that matter, and how its model predicts."""
    found = [(path, text) for pattern, text in FILES.items() for path in sorted(directory.glob(pattern))]
    print(f"Run directory: {directory}", flush=True)
    print_pairs((f"  {path.name}", text) for path, text in found)
    if models := [path for path, _ in found if path.suffix == ".ckpt"]:
        end = ["YOUR_PHOTOS", "--output", "predictions"]
        print("Next:", shlex.join([*program(), "predict", str(models[0]), *end]), flush=True)
