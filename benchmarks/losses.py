"""Segmentation losses beside segmentation-models-pytorch's on the CPU: seconds and memory of forward and backward.

    python benchmarks/losses.py --shape 8 11 360 480

Each loss runs in a process of its own, ours and theirs in turn; memory is by how much the peak exceeds what was
there with logits, their gradient and the target.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

NAMES = ("CrossEntropy", "Focal", "Dice", "Jaccard", "Tversky", "Lovasz")


def build(name: str, theirs: bool) -> Any:
    """The loss of a name; SMP's with the mode and the ignored index that it must be told."""
    if not theirs:
        from visiontasks import losses

        return getattr(losses, name)()
    import segmentation_models_pytorch.losses as smp

    if name == "CrossEntropy":
        return smp.SoftCrossEntropyLoss(smooth_factor=0.0)
    return getattr(smp, f"{name}Loss")("multiclass")


def measure(name: str, theirs: bool, shape: list[int], rounds: int) -> None:
    """Prints the median of the seconds, and the memory in MB."""
    import torch

    criterion = build(name, theirs)
    torch.manual_seed(0)
    logits = torch.randn(shape, requires_grad=True)
    logits.grad = torch.zeros_like(logits)
    target = torch.randint(shape[1], [shape[0], *shape[2:]])
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(rounds):
        start = time.perf_counter()
        criterion(logits, target).backward()
        seconds.append(time.perf_counter() - start)
    print(median(seconds), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=4, default=[8, 11, 360, 480])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return measure(options.child[0], options.child[1] == "theirs", options.shape, options.rounds)
    print(f"{options.shape}, seconds and MB: ours, theirs, ratio")
    for name in options.names:
        found = []
        for side in ("ours", "theirs"):
            command = [sys.executable, *sys.argv, "--child", name, side]
            child = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found.append([float(value) for value in child.stdout.split()])
        (seconds, memory), (their_seconds, their_memory) = found
        print(
            f"{name:13} {seconds:6.3f} {their_seconds:6.3f} {seconds / their_seconds:5.2f}   "
            f"{memory:6.0f} {their_memory:6.0f} {memory / max(1, their_memory):5.2f}",
            flush=True,
        )
    return None


if __name__ == "__main__":
    main()
