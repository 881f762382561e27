"""What came out: a table on the screen, files in the run directory."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from visiontasks.core.sample import names_of

NAMED, NUMBERED = 100, 20  # classes, at most, whose names or numbers are drawn


class Results(Callback):
    """Prints the metrics next to the floor, a trivial predictor's score, after fit, validate and test.

    After a fit: each metric of the last epoch, and of the epoch in which the monitored one was best; and before the
    first, where the trainer's `num_sanity_val_steps` is -1, the whole validation set.
    After a test also the tables: per class, and the confusion matrix, which become CSV files in `directory` and a
    picture, and in W&B a table and the same picture.

    Args:
        directory: Where the files go; nothing is written if not given.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory
        self.best: dict[str, float] = {}
        self.before: dict[str, float] = {}
        self.best_epoch = 0

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        found, monitor = _values(trainer, "val"), pl_module.monitor
        if found.get(monitor, float("-inf")) > self.best.get(monitor, float("-inf")):
            self.best, self.best_epoch = found, trainer.current_epoch

    def on_sanity_check_end(self, trainer: Trainer, pl_module: Any) -> None:
        if math.isinf(trainer.num_sanity_val_steps):
            self.before = _values(trainer, "val")

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.max_epochs:
            return
        columns = {"before": self.before} if self.before else {}
        columns |= {"last epoch": {**_values(trainer, "train"), **_values(trainer, "val")}}
        if self.best:
            columns[f"best (epoch {self.best_epoch + 1})"] = self.best
        self._print("fit", columns)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "validate":
            self._print("validate", {"value": _values(trainer, "val")})

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        tables = pl_module.tables()  # on every rank: it gathers
        self._print("test", {"value": _values(trainer, "test")})
        for prefix in ("", "mask_"):  # label and box share their classes
            chosen = {key: table for key, table in tables.items() if (key == "mask") == bool(prefix)}
            if chosen:
                names = names_of(pl_module.spec, next(iter(chosen)))
                self._write({k: v for table in chosen.values() for k, v in table.items()}, names, prefix, trainer)

    @rank_zero_only
    def _print(self, title: str, columns: dict[str, dict[str, float]]) -> None:
        table = Table(title=title, title_justify="left")
        table.add_column("metric")
        for name in [*columns, "floor"]:
            table.add_column(name, justify="right")
        values = list(columns.values())
        names = [
            name for name in dict.fromkeys(name for column in values for name in column) if not name.endswith("_floor")
        ]
        for name in names:
            floor = next((column[f"{name}_floor"] for column in values if f"{name}_floor" in column), None)
            cells = [f"{column[name]:.4f}" if name in column else "" for column in values]
            table.add_row(name, *cells, "" if floor is None else f"{floor:.4f}")
        Console().print(table)

    @rank_zero_only
    def _write(self, tables: dict[str, Tensor], class_names: list[str], prefix: str, trainer: Trainer) -> None:
        per_class = {name: values.tolist() for name, values in tables.items() if values.ndim == 1}
        if not per_class:
            return
        view = Table(title="per class", title_justify="left")
        for name in ["class", *per_class]:
            view.add_column(name, justify="left" if name == "class" else "right")
        for i, name in enumerate(class_names):
            view.add_row(name, *(f"{values[i]:.4f}" for values in per_class.values()))
        Console().print(view)
        rows = [[name, *(values[i] for values in per_class.values())] for i, name in enumerate(class_names)]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_table(f"test/{prefix}per_class", columns=["class", *per_class], data=rows)
                for title, matrix in tables.items():
                    if matrix.ndim == 2:
                        picture = draw_confusion(matrix.cpu().numpy(), class_names)
                        logger.log_image(f"test/{prefix}{title}", [picture])
        if self.directory:
            _write_csv(Path(self.directory, f"test_{prefix}per_class.csv"), ["class", *per_class], rows)
            for title, matrix in tables.items():
                if matrix.ndim == 2:
                    rows = [[name, *row] for name, row in zip(class_names, matrix.tolist(), strict=True)]
                    path = Path(self.directory, f"test_{prefix}{title}.csv")
                    _write_csv(path, ["true \\ predicted", *class_names], rows)
                    picture = draw_confusion(matrix.cpu().numpy(), class_names)
                    Image.fromarray(picture).save(path.with_suffix(".png"))


def _values(trainer: Trainer, stage: str) -> dict[str, float]:
    metrics = trainer.callback_metrics.items()
    return {name: float(value) for name, value in metrics if name.startswith(f"{stage}/") and "_step" not in name}


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def draw_confusion(matrix: np.ndarray, class_names: list[str]) -> np.ndarray:
    """Draws a confusion matrix, (C, C), rows true: each cell by its share of the row, with its number where it fits.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # without pyplot: no window system, no global state
    from matplotlib.figure import Figure

    count, total = len(class_names), matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    side = min(16, 2.5 + 0.4 * count)
    figure = Figure(figsize=(side, side), layout="constrained", dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if count <= NAMED:
        axes.set_xticks(range(count), class_names, rotation=90)
        axes.set_yticks(range(count), class_names)
    if count <= NUMBERED:
        for row, column in np.ndindex(*matrix.shape):
            # of pixels there may be millions: their share
            text = f"{matrix[row, column]}" if matrix.max() < 10_000 else f"{shares[row, column]:.2f}"
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
