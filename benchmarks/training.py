"""Images a second of `visiontasks fit` against a plain PyTorch loop, on the CPU.

    python benchmarks/training.py --size 160 --batch-size 32 --steps 8 --rounds 3

In one process, in turn, on the same pictures (generated, held in memory, not augmented: loading is next
to nothing, or it would hide the difference), with the same loader, network, fused AdamW and precision:

- `fit`: `visiontasks fit` as it comes, with all callbacks and loggers of a run (W&B offline).
- `plain`: forward, loss, backward, update and a count of right answers; channels_last, as fit has it.
- `plain, NCHW`: the same in torch's default memory format.

Only training steps count, after three for warming up (each tenth logs), not set-up, validation or checkpoints.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from contextlib import redirect_stdout
from functools import partial
from itertools import pairwise
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import wandb
from lightning.pytorch import Callback
from torch.nn.functional import cross_entropy

from visiontasks.cli import main as visiontasks
from visiontasks.core.sample import Sample
from visiontasks.data import Shapes, VisionDataModule
from visiontasks.models import Backbone
from visiontasks.models.network import BUNDLED
from visiontasks.tasks import ClassificationTask

WARM_UP = 3
ENDS: list[float] = []  # of the steps of the latest fit


class HeldShapes(Shapes):  # drawn once and kept
    def __init__(self, split: str, count: int, size: int) -> None:
        super().__init__(split, count, size)
        self._held = [super(HeldShapes, self).__getitem__(index) for index in range(len(self))]

    def __getitem__(self, index: int) -> Sample:
        return dict(self._held[index])


class Clock(Callback):
    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        ENDS.append(time.perf_counter())


def fit(options: argparse.Namespace, count: int, pretrained: str) -> list[float]:
    arguments = f"""
        --trainer.accelerator cpu --trainer.devices 1 --trainer.max_epochs 1 --trainer.limit_val_batches 1
        --trainer.precision {options.precision} --trainer.callbacks {__name__}.Clock --model ClassificationTask
        --model.backbone.name {options.backbone} --model.backbone.pretrained {pretrained}
        --data.dataset {__name__}.HeldShapes --data.dataset.count {count} --data.dataset.size {options.size}
        --data.image_size {options.size} --data.batch_size {options.batch_size} --data.augment none
    """.split()
    ENDS.clear()
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        visiontasks(["fit", *arguments, "--trainer.default_root_dir", folder])
        wandb.finish()
    return list(ENDS)


def plain(data: VisionDataModule, backbone: Backbone, layout: torch.memory_format, bf16: bool) -> list[float]:
    task = ClassificationTask(data.spec, backbone).train()
    backbone, head = backbone.to(memory_format=layout), task.heads["label"]
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=3e-4, fused=True)
    right, ends = torch.tensor(0), []
    for batch in data.train_dataloader():
        images = batch["image"].float().contiguous(memory_format=layout) / 255
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = head(backbone((images - backbone.normalizer.mean) / backbone.normalizer.std))
            loss = cross_entropy(logits, batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right += (logits.argmax(1) == batch["label"]).sum()
        ends.append(time.perf_counter())
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"size": 160, "batch-size": 32, "steps": 8, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--backbone", default=BUNDLED)
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    options = parser.parse_args()
    os.environ["WANDB_MODE"] = "offline"
    bf16, count = options.precision != "32-true", options.batch_size * (options.steps + WARM_UP)
    weights = "bundled" if options.backbone == BUNDLED else False
    size, batch_size = options.size, options.batch_size
    data = VisionDataModule(partial(HeldShapes, count=count, size=size), size, augment="none", batch_size=batch_size)
    runs = {
        "fit": lambda: fit(options, count, str(weights).lower()),
        "plain": lambda: plain(data, Backbone(options.backbone, weights), torch.channels_last, bf16),
        "plain, NCHW": lambda: plain(data, Backbone(options.backbone, weights), torch.contiguous_format, bf16),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            ends = run()[WARM_UP - 1 :]
            rates[name] += [options.batch_size / (end - start) for start, end in pairwise(ends)]
    print(f"{options.backbone}, {options.size} px, {options.precision}, {torch.get_num_threads()} threads, images/s:")
    for name, values in rates.items():
        print(
            f"  {name:12} median {median(values):7.1f} over {len(values)} steps, {min(values):.1f} to {max(values):.1f}"
        )
    print(f"fit / plain:       {median(rates['fit']) / median(rates['plain']):.3f} (bar 0.97)")
    print(f"fit / plain, NCHW: {median(rates['fit']) / median(rates['plain, NCHW']):.3f} (bar 1.35)")


if __name__ == "__main__":
    main()
