"""How fast an exported ONNX file predicts and starts, beside its checkpoint: `predict.py CHECKPOINT FILE.onnx PHOTOS`.

Each figure is the best of several runs of a process of its own on so many cores, the two in turn. `start` is
`visiontasks predict` of one photo from the first instruction to the last file, `images/s` what the command says of all
photos (reading, resizing, network, writing), `network` batches of pictures that are read already, channels last as the
reader gives them, and `memory` the most that the process held.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORK = """
import sys, time
import numpy as np
from visiontasks.core.geometry import height_width
from visiontasks.predict import Predictor
network = Predictor.open(sys.argv[1]).network
size = height_width(network.spec["image_size"])
images = np.random.default_rng(0).integers(0, 256, (int(sys.argv[2]), *size, 3), np.uint8).transpose(0, 3, 1, 2)
times = []
for _ in range(12):
    start = time.perf_counter()
    network(images)
    times.append(time.perf_counter() - start)
print(len(images) / sorted(times[2:])[4])
"""


def process(args: list[str], cores: int) -> tuple[float, str, int]:
    """Runs a command on the first cores: seconds, what it printed, and the most memory that it held in MB."""
    allowed = set(sorted(os.sched_getaffinity(0))[:cores])
    start = time.perf_counter()
    child = subprocess.Popen(
        args,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(cores)},
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, printed
    return time.perf_counter() - start, printed, usage.ru_maxrss // 1024


def measure(model: str, photos: list[str], cores: int, folder: str) -> dict[str, float]:
    """One run of each kind."""
    command = [sys.executable, "-m", "visiontasks.cli", "predict", model]
    start, _, _ = process([*command, photos[0], "--output", folder], cores)
    _, printed, memory = process([*command, *photos, "--output", folder], cores)
    (rate,) = re.findall(r"\(([\d.]+) images/s\)", printed)
    figures = {"start": start, "images/s": float(rate), "memory": float(memory)}
    for batch in (1, 32):
        figures[f"network {batch}"] = float(process([sys.executable, "-c", NETWORK, model, str(batch)], cores)[1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("onnx")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    photos = [str(path) for path in sorted(options.photos.rglob("*")) if path.suffix in (".jpg", ".png")]
    print(f"{len(photos)} photos")
    with tempfile.TemporaryDirectory() as folder:
        for cores in (2, 1):
            runs = [
                (measure(options.checkpoint, photos, cores, folder), measure(options.onnx, photos, cores, folder))
                for _ in range(options.rounds)
            ]
            for name in runs[0][0]:
                best = min if name in ("start", "memory") else max
                torch, onnx = (best(run[place][name] for run in runs) for place in (0, 1))
                row = {"cores": cores, "figure": name, "torch": round(torch, 2), "onnx": round(onnx, 2)}
                print(json.dumps({**row, "onnx / torch": round(onnx / torch, 3)}))


if __name__ == "__main__":
    main()
