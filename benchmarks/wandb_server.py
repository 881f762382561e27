"""What a W&B server costs that refuses, or that accepts connections and never answers: seconds before and after a fit.

Each fit is a process of its own, on generated pictures. The seconds at the start count from the start of the process to
the first step, those at the end from the last validation to the end of the process.

    uv run python benchmarks/wandb_server.py
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time

FIT = """
import time
from visiontasks.callbacks import Results
from visiontasks.cli import main
start, end = Results.on_train_start, Results.on_fit_end
def mark(name, method):
    def marked(self, *args):
        print(f"MARK {name} {time.time()}", flush=True)
        return method(self, *args)
    return marked
Results.on_train_start, Results.on_fit_end = mark("start", start), mark("end", end)
main()
"""
OPTIONS = """
    fit --model ClassificationTask --model.backbone.name test_resnet --model.backbone.pretrained false
    --data.dataset Shapes --data.dataset.count 32 --data.dataset.size 32 --data.image_size 32
    --trainer.max_epochs 1 --trainer.accelerator cpu --trainer.enable_progress_bar false
"""


def run(port: int | None) -> tuple[float, float, int]:
    """Fits with a server on a local port, or without W&B; returns seconds at the start and the end, and the status."""
    env = os.environ | {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": f"http://127.0.0.1:{port}"}
    env.pop("WANDB_MODE", None)
    more = [] if port else ["--trainer.logger", "false"]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.time()
        command = [sys.executable, "-c", FIT, *OPTIONS.split(), *more, "--trainer.default_root_dir", folder]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        end = time.time()
    marks = dict(line.split()[1:] for line in ended.stdout.splitlines() if line.startswith("MARK"))
    return float(marks["start"]) - begun, end - float(marks["end"]), ended.returncode


def main() -> None:
    run(None)  # the first one reads the libraries from the disk
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        closed.bind(("127.0.0.1", 0))
        ports = {"no logger": None, "refuses": closed.getsockname()[1], "never answers": silent.getsockname()[1]}
        for name, port in ports.items():
            start, end, status = run(port)
            print(f"{name:14} start {start:5.1f} s   end {end:5.1f} s   status {status}", flush=True)


if __name__ == "__main__":
    main()
