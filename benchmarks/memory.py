"""Training steps on the CPU with malloc as it comes and with freed memory kept: milliseconds an image, peak memory.

    python benchmarks/memory.py --size 224 --batch-size 16

Each round is a process of its own with the same network, images and fused AdamW; the two settings take turns.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from statistics import median

WARM_UP = 3
SETTINGS = {"as it comes": {"MALLOC_MMAP_MAX_": "65536"}, "kept": {}}  # any setting of one's own is left alone


def steps(size: int, batch_size: int, count: int) -> None:
    """Prints the median of milliseconds an image, and the peak of resident memory in MB."""
    import torch

    from visiontasks.core.memory import keep_freed_memory
    from visiontasks.models import Backbone
    from visiontasks.models.network import BUNDLED

    keep_freed_memory()
    backbone = Backbone(BUNDLED, "bundled").to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=1e-4, fused=True)
    images = torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8)
    seconds = []
    for _ in range(WARM_UP + count):
        start = time.perf_counter()
        optimizer.zero_grad()
        backbone(images)[-1].square().mean().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(1000 * median(seconds[WARM_UP:]) / batch_size, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"size": 224, "batch-size": 16, "steps": 10, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        steps(options.size, options.batch_size, options.steps)
    else:
        compare(options.rounds)


def compare(rounds: int) -> None:
    found: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, setting in SETTINGS.items():
            child = subprocess.run(
                [sys.executable, *sys.argv, "--child"], env=os.environ | setting, stdout=subprocess.PIPE, check=True
            )
            found[name].append([float(value) for value in child.stdout.split()])
    medians = {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, (time_, peak) in medians.items():
        print(f"{name:12} {time_:6.1f} ms an image, peak {peak:5.0f} MB")
    ratios = [kept / comes for kept, comes in zip(medians["kept"], medians["as it comes"], strict=True)]
    print("kept / as it comes: time {:.3f}, memory {:.3f}".format(*ratios))


if __name__ == "__main__":
    main()
