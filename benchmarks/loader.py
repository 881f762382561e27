"""CPU milliseconds an image from a 500x375 JPEG file to a 224-pixel training batch, in one thread.

    python benchmarks/loader.py --rounds 5

All CPU time counts, by process clock, over the same files (photos of the raccoon set where it is there,
else generated pictures; quality 90), each in turn, in batches of 32:

- `loader`: VisionDataModule's own, preset `medium` (crop, flip, color jitter). Bar: 1.6 ms.
- `loader, one worker`: the same with the CPU time of the worker, its start and end taken off.
- `torchvision`, `torchvision on PIL`: decode_jpeg or Pillow, then its v2 transforms that do the same work.
- `read_image`, `Pillow`: decoding alone.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from visiontasks.core.images import read_image
from visiontasks.core.sample import Batch
from visiontasks.data import ImageFolder, Shapes, VisionDataModule

COUNT, BATCH, SIZE = 64, 32, 224


def write_photos(folder: Path) -> str:
    """Fills two class folders with 500x375 JPEG files; returns where the pictures come from."""
    homes = (Path(__file__).parents[1], Path(__file__).parents[2] / "shared")
    photos = sorted(path for home in homes for path in home.glob("data/raccoon/images/*.jpg"))
    shapes = Shapes("train", COUNT, 500)
    for label in "ab":
        (folder / "train" / label).mkdir(parents=True)
    for i in range(COUNT):
        image = Image.open(photos[i % len(photos)]) if photos else Image.fromarray(shapes.image(i))
        image.convert("RGB").resize((500, 375)).save(folder / "train" / "ab"[i % 2] / f"{i}.jpg", quality=90)
    return "photos" if photos else "generated pictures"


def epochs(loader: Iterable[Batch], count: int = 1) -> None:
    for _ in range(count):
        for batch in loader:
            assert batch["image"].shape == (BATCH, 3, SIZE, SIZE)


def torchvision_epoch(paths: list[Path], read: Callable[[Path], object], transform: v2.Compose) -> None:
    for start in range(0, len(paths), BATCH):
        images = torch.stack([transform(read(path)) for path in paths[start : start + BATCH]])
        assert images.shape == (BATCH, 3, SIZE, SIZE)


def measure(work: Callable[..., object], *args: object) -> float:
    """CPU milliseconds an image of this process and of its children that have ended."""

    def clock() -> float:
        return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # user, system

    start = clock()
    work(*args)
    return 1000 * (clock() - start) / COUNT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    crop = v2.RandomResizedCrop(SIZE, scale=(0.35, 1.0), antialias=True)
    steps = [crop, v2.RandomHorizontalFlip(), v2.RandomApply([v2.ColorJitter(0.2, 0.2, 0.2, 0.02)], p=0.8)]
    on_tensor, on_pil = v2.Compose(steps), v2.Compose([*steps, v2.PILToTensor()])
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = write_photos(folder)
        paths = sorted(folder.rglob("*.jpg"))

        def loader(workers: int) -> Iterable[Batch]:
            dataset = partial(ImageFolder, root=name)
            return VisionDataModule(dataset, SIZE, "stretch", "medium", BATCH, workers).train_dataloader()

        def worker() -> float:  # its start and end are in both
            return (measure(lambda: epochs(loader(1), 5)) - measure(lambda: epochs(loader(1), 1))) / 4

        def open_pil(path: Path) -> Image.Image:
            return Image.open(path).convert("RGB")

        def open_tensor(path: Path) -> object:
            return decode_jpeg(read_file(str(path)), ImageReadMode.RGB)

        ours = loader(0)
        runs = {
            "loader": lambda: measure(epochs, ours),
            "loader, one worker": worker,
            "torchvision": lambda: measure(torchvision_epoch, paths, open_tensor, on_tensor),
            "torchvision on PIL": lambda: measure(torchvision_epoch, paths, open_pil, on_pil),
            "read_image": lambda: measure(lambda: [read_image(path) for path in paths]),
            "Pillow": lambda: measure(lambda: [np.asarray(open_pil(path)) for path in paths]),
        }
        found: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds + 1):
            for case, run in runs.items():
                found[case].append(run())
    print(f"{COUNT} {source}, {rounds} rounds, CPU ms an image (bar for the loader: 1.6):")
    for case, (_, *values) in found.items():  # the first round warms up
        print(f"  {case:20} median {median(values):.2f}, least {min(values):.2f}")


if __name__ == "__main__":
    main()
