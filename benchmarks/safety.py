"""What the checks of a fit cost: images per CPU second with and without them, side by side in one process.

With them, each step is checked for values that are not finite, and signals and the time of the last checkpoint are
looked at; the lock of the run directory costs nothing within a fit. The epochs of both fits alternate.

    uv run python benchmarks/safety.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything
from training import HeldShapes

from visiontasks.callbacks import Checkpoints, FiniteCheck
from visiontasks.data import VisionDataModule
from visiontasks.models import Backbone
from visiontasks.tasks import ClassificationTask


class Clock(Callback):
    """Measures the CPU time of the training steps of an epoch, which other processes disturb less than the time."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.start = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.seconds = time.process_time() - self.start


def measure(options: argparse.Namespace, data: VisionDataModule, checks: bool) -> float:
    """Trains one epoch; returns images per CPU second."""
    seed_everything(0, verbose=False)
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        callbacks: list[Callback] = [clock, *([FiniteCheck(), Checkpoints(directory)] if checks else [])]
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=checks,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        trainer.fit(ClassificationTask(data.spec, Backbone(options.backbone, pretrained=False)), data)
    return len(data.dataset("train")) / clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    dataset = partial(HeldShapes, count=options.images, size=options.size)
    data = VisionDataModule(dataset, options.size, batch_size=options.batch_size, augment="none", num_workers=0)
    rates: dict[bool, list[float]] = {True: [], False: []}
    for number in range(options.rounds + 1):
        for checks in (number % 2 == 0, number % 2 == 1):
            rates[checks].append(measure(options, data, checks))
    with_checks, without = (statistics.median(rates[checks][1:]) for checks in (True, False))  # the first warms up
    ratios = [one / other for one, other in zip(rates[True][1:], rates[False][1:], strict=True)]
    print(f"images per CPU second with checks {with_checks:.1f}, without {without:.1f}")
    print(f"ratio of a round: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
