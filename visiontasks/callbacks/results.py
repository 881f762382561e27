"""What came out: a table on the screen, files in the run directory."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import Tensor

from visiontasks.samples import names_of


class Results(Callback):
    """Prints the metrics next to the floor, a trivial predictor's score, after fit, validate and test.

    After a fit: each metric of the last epoch, and of the epoch in which the monitored one was best; and before the
    first, where the trainer's `num_sanity_val_steps` is -1, the whole validation set.
    After a test also the tables (per class, confusion matrix), which become CSV files in `directory`.

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
                self._write({k: v for table in chosen.values() for k, v in table.items()}, names, prefix)

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
    def _write(self, tables: dict[str, Tensor], class_names: list[str], prefix: str) -> None:
        per_class = {name: values.tolist() for name, values in tables.items() if values.ndim == 1}
        if not per_class:
            return
        view = Table(title="per class", title_justify="left")
        for name in ["class", *per_class]:
            view.add_column(name, justify="left" if name == "class" else "right")
        for i, name in enumerate(class_names):
            view.add_row(name, *(f"{values[i]:.4f}" for values in per_class.values()))
        Console().print(view)
        if self.directory:
            rows = [[name, *(values[i] for values in per_class.values())] for i, name in enumerate(class_names)]
            _write_csv(Path(self.directory, f"test_{prefix}per_class.csv"), ["class", *per_class], rows)
            for title, matrix in tables.items():
                if matrix.ndim == 2:
                    rows = [[name, *row] for name, row in zip(class_names, matrix.tolist(), strict=True)]
                    _write_csv(
                        Path(self.directory, f"test_{prefix}{title}.csv"), ["true \\ predicted", *class_names], rows
                    )


def _values(trainer: Trainer, stage: str) -> dict[str, float]:
    metrics = trainer.callback_metrics.items()
    return {name: float(value) for name, value in metrics if name.startswith(f"{stage}/") and "_step" not in name}


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
