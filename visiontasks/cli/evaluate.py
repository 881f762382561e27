"""The command `visiontasks evaluate`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from visiontasks.cli.imports import import_modules, trust_of
from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.core.files import write_csv, write_json
from visiontasks.core.lock import lock
from visiontasks.core.outputs import OutputFolder, new_results
from visiontasks.core.tables import print_table, shown
from visiontasks.data import VisionDataModule
from visiontasks.data.splits import MissingSplit
from visiontasks.evaluate import count, count_baseline, describe_intervals
from visiontasks.evaluate.rows import Row, figure_rows
from visiontasks.predict.predictor import Predictor


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Predicts a split with one or two models, and prints and writes the metrics."""
    if len(options.model) > 2:
        raise InputError(f"evaluate: {len(options.model)} models; expected one, or two to compare.")
    first, trust = Path(options.model[0]), import_modules(options.imports)
    data = open_data(options.config or first.parent / "config.yaml", more, options.config is None, trust)
    try:
        split = options.split
        data.dataset(split)
    except MissingSplit:
        if options.split == "val":
            raise
        print("There is no test split, so the figures are those of val.")
        split = "val"
    folder = new_results(options.output or first.parent / "evaluation", "evaluation.csv", "evaluation.json")
    with lock(folder.path):
        write_evaluation(folder, options, data, split)
    print(f"written to {folder.path}")


def write_evaluation(folder: OutputFolder, options: argparse.Namespace, data: VisionDataModule, split: str) -> None:
    """Predicts a split, and writes and prints the metrics."""
    dataset = data.dataset(split)
    how = {"batch_size": options.batch_size, "tile": options.tile}
    how_open = {"device": options.device, "threshold": options.threshold}
    models = [Predictor.open(path, trust_of(options, path), **how_open) for path in options.model]
    keys = models[0].network.keys
    if any(model.network.keys != keys for model in models):
        raise InputError(f"{options.model[1]} predicts {models[1].network.keys}, {options.model[0]} predicts {keys}.")
    names, views = options.model, [options.tta] * len(models)
    if len(models) == 1 and options.tta:
        names, views, models = ["plain", "views"], [[], options.tta], models * 2
    counts = [count(model, dataset, tta=tta, **how) for model, tta in zip(models, views, strict=True)]
    rows = figure_rows(counts, count_baseline(keys, data, split), names, options.draws, dataset)
    about = {"models": options.model, "tta": options.tta, "threshold": options.threshold, "split": split}
    about |= {"images": len(dataset)}
    intervals = describe_intervals(counts[0], options.draws)
    with folder.write("evaluation.csv") as path:
        write_csv(path, rows)
    with folder.write("evaluation.json") as path:
        write_json(path, {**about, "intervals": intervals, "figures": rows})
    _print(rows, f"{split}, {len(dataset)} images")
    print(intervals)


def _print(rows: list[Row], title: str) -> None:
    starts = [name.removesuffix("value") for name in rows[0] if name.endswith("value")]
    lines = []
    for row in rows:
        cells = [shown(row[f"{start}value"]) for start in starts]
        if cells[-1]:  # a figure that is known, such as that of small objects if there are any
            cells[-1] += f" [{shown(row[f'{starts[-1]}low'])}, {shown(row[f'{starts[-1]}high'])}]"
        lines.append([str(row["metric"]), str(row["class"]), *cells, shown(row["baseline"])])
    columns = ("metric", "class", *(start.strip() or "value" for start in starts), "baseline")
    print_table(title, columns, lines, texts=2)
