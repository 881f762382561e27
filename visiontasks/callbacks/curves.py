"""Curves of the loss and the monitored metric."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.core.files import atomic_write, read_csv


class Curves(Callback):
    """Draws the train and val curves of the loss and the monitored metric to `curves.png` when a fit ends.

    It reads the `metrics.csv` of the fit, so it needs a CSVLogger.
    """

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        logger = next((logger for logger in trainer.loggers if isinstance(logger, CSVLogger)), None)
        if logger is None:
            return
        logger.save()
        path = Path(logger.log_dir, "metrics.csv")
        if path.exists():
            draw_curves(path, ["loss", pl_module.monitor.removeprefix("val/")], path.with_name("curves.png"))


def draw_curves(metrics: Path, names: list[str], output: Path) -> None:
    """Draws `train/<name>` and `val/<name>` of the metrics.csv of a CSVLogger to a PNG, one plot per name."""
    from matplotlib.figure import Figure  # pyplot would need a window system and global state

    rows = read_csv(metrics)
    figure = Figure(figsize=(5 * len(names), 3.6))
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.15)  # a computed layout takes twice as long
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for stage in ("train", "val"):
            points = [(int(row["epoch"]) + 1, float(row[key])) for row in rows if row.get(key := f"{stage}/{name}")]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=stage)
                axes.legend()
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    with atomic_write(output) as part:
        figure.savefig(part, format="png", dpi=120)
