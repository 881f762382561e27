"""Results of a run as tables in the terminal and files in the run directory."""

import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from PIL import Image

from visiontasks.callbacks.checkpoints import checkpoints_of, figures
from visiontasks.callbacks.wandb import log_pictures, log_table
from visiontasks.core.files import atomic_write, write_csv
from visiontasks.core.tables import print_table, shown
from visiontasks.models.heads.base import Stage
from visiontasks.targets import find_target
from visiontasks.tasks.figures import split_of

NAMED, NUMBERED = 100, 20  # maximum number of classes with names and with numbers in the picture
WORST = 10  # number of classes in the terminal


class Results(Callback):
    """Prints the metrics and the baseline (the score of a trivial predictor) after fit, validate and test.

    After a fit it prints the metrics of the last epoch and those of `best.ckpt` (see `Checkpoints`), without the
    `details` of the target kinds, and those before the first epoch if the trainer's `num_sanity_val_steps` is -1 (the
    whole validation set). The worst classes follow; each validation, also during a fit, writes the results of all
    classes to `directory`. After a test it adds the confusion matrix, as a CSV file and a picture, and logs both in
    W&B. Without a test split the names of the metrics of a test begin with `val/`.

    Args:
        directory: Folder of the files; if not given, none is written.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory
        self.before: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def on_sanity_check_end(self, trainer: Trainer, pl_module: Any) -> None:
        if math.isinf(trainer.num_sanity_val_steps):
            self.before = figures(trainer, "val")

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.max_epochs:
            return
        columns = {"before": self.before} if self.before else {}
        columns |= {"last epoch": {**figures(trainer, "train"), **self.last}}
        if (kept := checkpoints_of(trainer)) and kept.best:
            columns[f"best (epoch {kept.best_epoch + 1})"] = kept.best
        self._print("results", columns, _details(pl_module.heads))
        for prefix, names, found in _groups(pl_module.tables("val"), pl_module.spec):
            self._print_classes(_class_rows(found, names), "val", prefix, " (last epoch)")
        value, baseline = (self.last.get(f"{pl_module.monitor}{end}", math.nan) for end in ("", "_baseline"))
        if value <= baseline:
            advice = "Train longer, or look at the data with `visiontasks preview`."
            rank_zero_info(f"{pl_module.monitor} is not better than the baseline. {advice}")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.last = figures(trainer, "val")
        if trainer.state.fn == "validate":
            self._print("results", {"value": self.last})
        if not trainer.sanity_checking:
            self._write_tables("val", trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._print("results", {"value": figures(trainer, split_of(trainer, "test"))})
        self._write_tables("test", trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"before": self.before, "last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before, self.last = state_dict["before"], state_dict["last"]

    @rank_zero_only
    def _print(self, title: str, columns: dict[str, dict[str, float]], hidden: Collection[str] = ()) -> None:
        values, rows = list(columns.values()), []
        for name in dict.fromkeys(name for column in values for name in column if not name.endswith("_baseline")):
            cells = [shown(column.get(name, "")) for column in values]
            baselines = [shown(column[key]) for column in values if (key := f"{name}_baseline") in column]
            if any(cells) and name.partition("/")[2] not in hidden:
                rows.append([name, *cells, *baselines[:1]])
        print_table(title, ["metric", *columns, "baseline"], rows)

    @rank_zero_only
    def _print_classes(self, rows: list[dict[str, Any]], stage: Stage, prefix: str, when: str = "") -> None:
        if len(rows) < 2 or len(rows[0]) < 2:  # the figures of one class are those of the set
            return
        column = [*rows[0]][1]
        order = sorted(rows, key=lambda row: (math.isnan(row[column]), row[column]))
        cells = [[shown(value) for value in row.values()] for row in order]
        known = [row for row in cells if any(row[1:])]  # the others do not occur
        print_table(f"{prefix.replace('_', ' ')}classes{when}, worst first", [*rows[0]], known[:WORST])
        if (left := len(rows) - len(known[:WORST])) and self.directory:
            print(f"{left} more: {Path(self.directory, f'{stage}_{prefix}per_class.csv')}\n", flush=True)

    @rank_zero_only
    def _write_tables(self, stage: Stage, trainer: Trainer, task: Any) -> None:
        for prefix, names, found in _groups(task.tables(stage), task.spec):
            self._write(found, names, stage, prefix, trainer)

    def _write(
        self, tables: dict[str, np.ndarray], names: list[str], stage: Stage, prefix: str, trainer: Trainer
    ) -> None:
        matrices = {name: matrix for name, matrix in tables.items() if matrix.ndim == 2}
        rows, split = _class_rows(tables, names), split_of(trainer, stage)
        if trainer.state.fn != "fit":
            self._print_classes(rows, stage, prefix)
            log_table(trainer.loggers, f"{split}/{prefix}per_class", [*rows[0]], [[*row.values()] for row in rows])
        if self.directory:
            write_csv(Path(self.directory, f"{stage}_{prefix}per_class.csv"), rows)
        for title, matrix in matrices.items():
            titles = with_background(names) if len(matrix) > len(names) else names
            picture = draw_confusion(matrix, titles)
            log_pictures(trainer.loggers, f"{split}/{prefix}{title}", [picture])
            if self.directory:
                path = Path(self.directory, f"{stage}_{prefix}{title}.csv")
                pairs = zip(titles, matrix.tolist(), strict=True)
                lines = [{"true \\ predicted": name, **dict(zip(titles, row, strict=True))} for name, row in pairs]
                write_csv(path, lines)
                with atomic_write(path.with_suffix(".png")) as part:
                    Image.fromarray(picture).save(part, "PNG")


def _groups(tables: dict[str, dict[str, Any]], spec: dict[str, Any]) -> list[tuple[str, list[str], dict[str, Any]]]:
    """Joins the tables of the keys that share their class names, such as label and box; returns a prefix of file names,
    the names and the tables. A name that an earlier key has gets the key added."""
    groups: dict[str, dict[str, Any]] = {}
    for key, found in tables.items():
        group = groups.setdefault(find_target(key).names_key, {})
        group |= {f"{name} ({key})" if name in group else name: table for name, table in found.items()}
    found = groups.items()
    return [(key.removesuffix("names").removeprefix("class_"), spec[key], group) for key, group in found]


def _class_rows(tables: dict[str, np.ndarray], names: list[str]) -> list[dict[str, Any]]:
    per_class = {name: values.tolist() for name, values in tables.items() if values.ndim == 1}
    return [{"class": name, **{k: v[i] for k, v in per_class.items()}} for i, name in enumerate(names)]


def _details(keys: Iterable[str]) -> set[str]:
    """Returns the figures that the table of a fit leaves out, also those whose name begins with their key."""
    pairs = [(key, name) for key in keys for name in find_target(key).details]
    return {full for key, name in pairs for full in (name, f"{key}_{name}")}


def with_background(names: list[str]) -> list[str]:
    """Adds the background under a name that no class has."""
    return [*names, next(name for name in ("background", "(background)", "(no object)") if name not in names)]


def draw_confusion(matrix: np.ndarray, class_names: list[str]) -> np.ndarray:
    """Draws a confusion matrix, (C, C), rows true, colored by the share of each row: uint8 (H, W, 3), RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # pyplot would need a window system and global state
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
            # counts of pixels are too long for a cell
            text = f"{matrix[row, column]}" if matrix.max() < 10_000 else f"{shares[row, column]:.2f}"
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
