"""Networks and losses of segmentation on CamVid, one row each at the same number of epochs.

All rows are configs/segmentation/camvid_unet.yaml (or the config of another network) with a few settings changed. The
figures are those of the last epoch: of the validation part, and of the test part, on which nothing is selected.

    uv run python benchmarks/camvid.py --epochs 4 --data.train_size "[192, 256]"
    uv run python benchmarks/camvid.py --epochs 4 --data.train_size "[192, 256]" --rows "U-Net, focal" FCN-8s
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from runs import run

LOSS = "--model.head.loss"
SUM = [LOSS, "WeightedSum", f"{LOSS}.weights", "[1, 1]", f"{LOSS}.losses"]
WEIGHTED = "{class_path: CrossEntropy, init_args: {class_weights: sqrt_median_frequency}}"
ROWS = {
    "U-Net, weighted cross-entropy": ["unet", LOSS, "CrossEntropy", f"{LOSS}.class_weights", "sqrt_median_frequency"],
    "U-Net, weighted cross-entropy + Dice": ["unet", *SUM, f"[{WEIGHTED}, Dice]"],
    "U-Net, cross-entropy": ["unet", LOSS, "CrossEntropy"],
    "U-Net, focal": ["unet", LOSS, "Focal"],
    "U-Net, Dice": ["unet", LOSS, "Dice"],
    "U-Net, focal + Dice": ["unet", *SUM, "[Focal, Dice]"],
    "U-Net without coarse scores": ["unet", "--model.head.coarse", "false"],
    "FCN-8s": ["fcn8s"],
    "DeepLabV3+": ["deeplab"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    options, more = parser.parse_known_args()
    lines = []
    for row in options.rows:
        name, *changes = ROWS[row]
        config = f"configs/segmentation/camvid_{name}.yaml"
        epochs = ["--trainer.max_epochs", str(options.epochs), "--trainer.check_val_every_n_epoch", str(options.epochs)]
        with tempfile.TemporaryDirectory() as directory:
            val, seconds = run("fit", config, Path(directory, "fit"), *epochs, *changes, *more)
            (last,) = Path(directory, "fit").glob("*/*/last.ckpt")
            test, _ = run("test", config, Path(directory, "test"), "--ckpt_path", str(last), *changes, *more)
        figures = [val["val/miou"], test["test/miou"], test["test/pixel_accuracy"], test["test/miou_baseline"]]
        lines.append(f"{row:38}{'  '.join(f'{figure:.3f}' for figure in figures)}  {seconds:5.0f} s")
        print(lines[-1], flush=True)
    print(f"\nCamVid, {options.epochs} epochs: mIoU val, test; pixel accuracy, baseline (test)", *lines, sep="\n")


if __name__ == "__main__":
    main()
