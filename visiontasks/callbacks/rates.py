"""Learning-rate finder."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from visiontasks.callbacks.freeze import FreezeBackbone
from visiontasks.callbacks.progress import ProgressLine
from visiontasks.core.compat import bar_of_rates, end_fit_after_rates
from visiontasks.core.errors import InputError
from visiontasks.core.files import atomic_write, write_csv

STEPS = 100
SKIPPED = 10  # first losses, whose running mean is over too few
RANGE = (1e-6, 1.0)
LEAST_FALL = 0.03  # share of the loss; a smaller fall is noise of the batches


class LRFinder(Callback):
    """Trains with a learning rate that grows with each step, then ends the fit (Smith 2017, section 3.3).

    The fit begins as in the config, including closed-form heads and a frozen backbone, and the backbone keeps its ratio
    to the rate. The model is restored at the end. Writes `lr_find.csv` (`lr` of the heads, `loss`: running mean) and
    `lr_find.png`, and prints the rate at which the loss falls fastest, if it falls.

    Args:
        directory: Folder of the files.
        steps: Number of rates.
    """

    def __init__(self, directory: str, steps: int) -> None:
        if steps < SKIPPED + 3:
            raise InputError(
                f"lr_find: {steps} steps, expected at least {SKIPPED + 3}, because the first {SKIPPED} losses are left "
                "out. Increase --trainer.max_steps."
            )
        self.directory, self.steps = Path(directory), steps

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        # the finder runs without the other callbacks
        if any(isinstance(callback, FreezeBackbone) and callback.epochs for callback in trainer.callbacks):
            pl_module.backbone.freeze()

        def keep_ratio(optimizer: Any, args: Any, kwargs: Any) -> None:
            heads, backbone = optimizer.param_groups
            backbone["lr"] = heads["lr"] * pl_module.backbone_lr_ratio

        # not as a callback of the trainer, because Lightning would run it before ClosedFormStart
        finder = LearningRateFinder(*RANGE, num_training_steps=self.steps, update_attr=False)
        end_fit_after_rates(finder)
        bar = _Bar(trainer)
        try:
            with trainer.optimizers[0].register_step_pre_hook(keep_ratio), bar_of_rates(bar.start):
                finder.lr_find(trainer, pl_module)
        finally:
            bar.close()
            pl_module.backbone.unfreeze()
            if finder.optimal_lr is not None:
                self._write(np.array(finder.optimal_lr.results["lr"]), np.array(finder.optimal_lr.results["loss"]))

    @rank_zero_only
    def _write(self, rates: np.ndarray, losses: np.ndarray) -> None:
        from matplotlib.figure import Figure

        pairs = zip(rates.tolist(), losses.tolist(), strict=True)
        write_csv(self.directory / "lr_find.csv", [{"lr": lr, "loss": loss} for lr, loss in pairs])
        rate = suggested_rate(rates, losses)
        plot = self.directory / "lr_find.png"
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(rates, losses)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss, running mean")
        axes.grid(alpha=0.3)
        if rate is not None:
            axes.axvline(rate, color="gray", linestyle="--", label=f"falls fastest at {rate:.1e}")
            axes.legend()
        with atomic_write(plot) as part:
            figure.savefig(part, format="png", dpi=120)
        if rate is None:
            rank_zero_warn(
                f"lr_find: the loss never falls by {LEAST_FALL:.0%}, so no learning rate is recommended ({plot}). "
                "Check the data and the loss; heads that ClosedFormStart has solved may leave little to learn."
            )
        else:
            rank_zero_info(f"The loss falls fastest at --model.optimizer.lr {rate:.1e} ({plot})")


class _Bar:
    """The bar of Lightning's finder, which shows its steps in the line of progress, if the trainer has one."""

    def __init__(self, trainer: Any) -> None:
        line, self.step = trainer.progress_bar_callback, 0
        self.line = line if isinstance(line, ProgressLine) and line.enabled else None

    def start(self, desc: str, total: int) -> "_Bar":
        if self.line:
            self.line.enable()  # the finder disables it
            self.line.begin(total)
        return self

    def update(self) -> None:
        self.step += 1
        if self.line:
            self.line.count("learning rate", self.step)

    def close(self) -> None:
        if self.line:
            self.line.clear()


def suggested_rate(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """Returns the rate at which the loss falls fastest over the logarithm of the (ascending) rates, both float (N,).

    Lightning's suggestion divides by the difference of the rates themselves, which amplifies noise at small rates.

    Returns:
        None if the loss never falls by `LEAST_FALL`, or is hardly ever finite.
    """
    known = np.isfinite(losses)
    known[:SKIPPED] = False
    rates, losses = rates[known], losses[known]
    if len(losses) < 3 or losses.min() > (1 - LEAST_FALL) * losses[0]:
        return None
    return float(rates[np.gradient(losses, np.log10(rates)).argmin()])
