"""False alarms in photos without any raccoon: a tenth of the photos becomes a crop of its background.

A model is trained for each fold. The threshold is the one at which nine of ten raccoons are found in the held-out
photos of all folds; the figure is the number of boxes above it in a held-out photo without raccoons.

    uv run python benchmarks/false_alarms.py configs/detection/raccoon.yaml --folds 0 1 2 3 4
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from runs import run

from visiontasks.data.datasets import VocBoxes
from visiontasks.data.splits import Splits
from visiontasks.evaluate.evaluation import count
from visiontasks.predict.predictor import Predictor
from visiontasks.targets.coco import ranked

LEAST = 80  # pixels of the shorter side of a crop
ENDS = ("xmin", "ymin", "xmax", "ymax")


def background(boxes: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Returns the largest of the four strips beside all boxes."""
    left, top, right, bottom = *boxes[:, :2].min(0).astype(int).tolist(), *boxes[:, 2:].max(0).astype(int).tolist()
    strips = [(0, 0, left, height), (0, 0, width, top), (right, 0, width, height), (0, bottom, width, height)]
    return max(strips, key=lambda strip: min(strip[2] - strip[0], strip[3] - strip[1]))


def empty_photos(source: Path, root: Path) -> list[str]:
    """Copies the set; one photo of each ten, the one with the widest background, becomes a crop without a raccoon."""
    shutil.copytree(source, root)
    crops = []
    for xml in sorted((root / "annotations").glob("*.xml")):
        tree = ElementTree.parse(xml)
        boxes = [[float(box.findtext(end) or 0) for end in ENDS] for box in tree.iter("bndbox")]
        (path,) = (root / "images").glob(f"{xml.stem}.*")
        height, width = cv2.imread(str(path)).shape[:2]
        strip = background(np.array(boxes), width, height)
        crops.append((min(strip[2] - strip[0], strip[3] - strip[1]), path, xml, strip))
    names = []
    for start in range(0, len(crops), 10):
        side, path, xml, (left, top, right, bottom) = max(crops[start : start + 10])
        if side < LEAST:
            continue
        cv2.imwrite(str(path), cv2.imread(str(path))[top:bottom, left:right])
        tree = ElementTree.parse(xml)
        for one in tree.findall("object"):
            tree.getroot().remove(one)
        for name, value in (("width", right - left), ("height", bottom - top)):
            for node in tree.iter(name):
                node.text = str(value)
        tree.write(xml)
        names.append(path.name)
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--source", default="data/raccoon")
    parser.add_argument("--folds", type=int, nargs="+", default=[4])
    options, changes = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "raccoon")
        print(f"{len(empty_photos(Path(options.source), root))} photos emptied")
        records = []
        for fold in options.folds:
            home = Path(directory, str(fold))
            place = ["--data.dataset.root", str(root), "--data.dataset.splits.fold", str(fold)]
            found, seconds = run("fit", options.config, home, *place, *changes)
            print(f"fold {fold}: AP {found['val/map']:.3f}, AP50 {found['val/map50']:.3f}, {seconds:.0f} s", flush=True)
            (checkpoint,) = home.glob("*/*/last.ckpt")
            data = VocBoxes("val", root=str(root), objects="all", splits=Splits(fold=fold))
            records.append(count(Predictor.open(str(checkpoint)), data)["objects"])
    counts = np.concatenate(records)
    (found,) = ranked(counts)
    right, true = found.right[:, 0, 0], found.true[:, 0]
    order = np.argsort(-found.score, kind="stable")
    reached = np.cumsum(right[order]) / true.sum()
    print(f"{int(true.sum())} raccoons, {int((true == 0).sum())} photos without; highest recall {reached[-1]:.3f}")
    limit = found.score[order][np.searchsorted(reached, 0.9)]
    alarms = ((found.score >= limit) & (true[found.image] == 0)).sum() / (true == 0).sum()
    print(f"threshold {limit:.3f} for a recall of 0.9: {alarms:.3f} false alarms per empty photo")


if __name__ == "__main__":
    main()
