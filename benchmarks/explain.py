"""Where Grad-CAM and occlusion look on cats and dogs: the share of their mass that lies on the animal.

A linear head in closed form tells the species apart; the trimaps of the test photos say where the animal is. Chance is
the animal's share of the pixels; beside it stands a bell in the middle of the photo, where animals mostly are.

    uv run python benchmarks/explain.py --count 100
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from runs import run

from visiontasks.data import OxfordIIITPet
from visiontasks.inspect import explain
from visiontasks.targets.sample import resize_sample
from visiontasks.tasks.restore import restore_task

CONFIG = "configs/classification/pets.yaml"
SPECIES = ["--data.dataset.classes", "species"]
ANIMAL = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="test photos, evenly spaced")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures, _ = run("probe", CONFIG, Path(directory), *SPECIES)
        (checkpoint,) = Path(directory).glob("*/*/last.ckpt")
        task = restore_task(str(checkpoint))
    print(f"validation accuracy {figures['val/accuracy']:.3f}, baseline {figures['val/accuracy_baseline']:.3f}")
    data = OxfordIIITPet("test", root="data/pets3", classes="species", trimaps=True)
    side = task.spec["image_size"]
    axis = np.exp(-(((np.arange(side) + 0.5) / side - 0.5) ** 2) / (2 * 0.25**2))
    bell = np.outer(axis, axis)
    shares: dict[str, list[float]] = {"chance": [], "bell": [], "gradcam": [], "occlusion": []}
    for index in track(np.linspace(0, len(data) - 1, options.count).round().astype(int).tolist()):
        sample = resize_sample(data[index], side, task.spec["resize"])
        animal, known = sample["mask"] == ANIMAL, sample["mask"] <= ANIMAL
        image = torch.from_numpy(sample["image"]).permute(2, 0, 1)[None]
        maps = {"chance": np.ones_like(bell), "bell": bell}
        maps |= {how: explain(task, image, method=how, window=side // 4).numpy() for how in ("gradcam", "occlusion")}
        for how, weights in maps.items():
            if (total := float(weights[known].sum())) > 0:
                shares[how].append(float(weights[animal].sum()) / total)
    for how, found in shares.items():
        error = np.std(found) / len(found) ** 0.5
        print(f"{how:10} {np.mean(found):.3f} +- {error:.3f} of {len(found)} photos")


if __name__ == "__main__":
    main()
