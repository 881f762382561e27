"""Sliding: average precision on images not trained on, and one pass beside cropping every window of one image.

uv run python benchmarks/slide.py runs/sliding/TIME/best.ckpt
uv run python benchmarks/slide.py CHECKPOINT --raccoons data/raccoon   (of a model trained on windows of it)
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from visiontasks.cli.detect import average_precision
from visiontasks.data.datasets import Scenes, VocBoxes
from visiontasks.data.splits import Splits
from visiontasks.predict.sliding import SCALES, Detector
from visiontasks.tasks import VisionTask
from visiontasks.tasks.restore import restore_task


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(task: VisionTask, repeats: int, height: int = 768, width: int = 1024, batch: int = 64) -> None:
    """One pass over an image beside the same windows cropped and answered in batches, in turn."""
    detector = Detector(task, [1.0])
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    canvas, _ = detector.canvas(image)
    pixels = torch.from_numpy(canvas).permute(2, 0, 1)
    windows = pixels.unfold(1, detector.window, detector.stride).unfold(2, detector.window, detector.stride)
    crops = windows.permute(1, 2, 0, 3, 4).flatten(0, 1)

    def one_by_one() -> list[dict[str, Tensor]]:
        with torch.inference_mode():
            # channels_last as in the one pass: it is the faster of the two here as well
            return [task(part.contiguous(memory_format=torch.channels_last)) for part in crops.split(batch)]

    def at_once() -> dict[str, Tensor]:
        return detector.maps(pixels[None])

    at_once(), one_by_one()
    times = [(seconds(at_once), seconds(one_by_one)) for _ in range(repeats)]
    once, each = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(slow / fast for fast, slow in times)
    print(f"{width} x {height}, {len(crops)} windows of {detector.window}, one every {detector.stride} pixels:")
    print(f"  one pass {once:.2f} s, every window cropped {each:.2f} s, ratio {ratio:.1f} (medians of {repeats})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--count", type=int, default=100, help="pictures of the test part")
    parser.add_argument("--raccoons", metavar="ROOT", help="photos of fold 4 instead of generated scenes")
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES)
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--iou", type=float, default=0.4)
    parser.add_argument("--split", default="test", help="of the scenes; val is for choosing scales")
    parser.add_argument("--repeats", type=int, default=5, help="of the timing; 0 leaves it out")
    options = parser.parse_args()
    task = restore_task(options.checkpoint)
    dataset = Scenes(options.split, 4 * options.count)
    if options.raccoons:
        dataset = VocBoxes("val", options.raccoons, splits=Splits(fold=4))
    detector = Detector(task, options.scales, options.threshold, options.iou)
    taken = seconds(lambda: print(average_precision(detector, dataset)))
    objects = sum(len(dataset.objects(index)[0]) for index in range(len(dataset)))
    print(f"{len(dataset)} pictures, {objects} objects, {taken / len(dataset):.2f} s a picture")
    if options.repeats:
        compare(task, options.repeats)


if __name__ == "__main__":
    main()
