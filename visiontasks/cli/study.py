"""The command `visiontasks study`, which trains configs and compares them in a table and a picture."""

import argparse
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from visiontasks.cli.parser import read_included, read_yaml
from visiontasks.cli.training import main as run
from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv, write_csv, write_text
from visiontasks.core.lock import lock
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.tables import print_table
from visiontasks.tasks.checkpoint import read_checkpoint

KEYS = {"config", "steps", "seeds", "cumulative"}


class Step(NamedTuple):
    """A row of the table: a config and the arguments that change it."""

    name: str
    config: Path
    arguments: dict[str, Any]


class Study(NamedTuple):
    """The content of the file of a study."""

    steps: list[Step]
    seeds: list[int]


def read_study(path: Path) -> Study:
    """Reads the file of a study.

    Each of its `steps` has a name, arguments by their dotted names (`data.batch_size: 16`), and optionally its own
    `config`. `config` is that of all other steps, relative to the folder of the file. `seeds` is [0] by default. With
    `cumulative: true`, each step keeps the arguments of the steps before it. Raises an InputError for wrong content.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("steps"), dict) or not content["steps"]:
        raise InputError(f"{path}: expected `steps` with names and arguments, as in configs/studies/cifar10.yaml.")
    if unknown := sorted(content.keys() - KEYS):
        raise InputError(f"{path}: the key {unknown[0]!r} is not one of {', '.join(sorted(KEYS))}.")
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise InputError(f"{path}: seeds: {seeds!r} is not a list of integers, such as [0, 1, 2].")
    steps: list[Step] = []
    for name, arguments in content["steps"].items():
        if isinstance(name, bool | float | None) or not re.fullmatch(r"\w[\w ,.+-]*", str(name)):
            fault = "expected a name of letters, digits, spaces; words such as no and null in quotes"
            raise InputError(f"{path}: the step {name!r}: {fault}.")
        if not isinstance(arguments, dict | None):
            raise InputError(f"{path}: the step {name!r}: expected its arguments, found {arguments!r}.")
        arguments = dict(arguments or {})
        config = str(arguments.pop("config", content.get("config")))
        if not (file := path.parent / config).is_file():
            raise InputError(f"{path}: the step {name!r} has no config: {config!r} is not a file in the same folder.")
        if content.get("cumulative") and steps:
            arguments = steps[-1].arguments | arguments
        steps.append(Step(str(name), file, arguments))
    return Study(steps, seeds)


def run_study(study: Study, directory: Path, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Trains each step with each seed, unless `results.csv` has it, and continues a fit that stopped.

    Each run has its own folder in the directory. `results.csv` gets a row after each run; `curves.png` is drawn last.
    `more` are arguments of `fit` for every step.

    Returns:
        One row per run: `step`, `seed`, `epochs`, `seconds` of the last fit, and loss and monitored metric of the last
        weights on the training set and the test set (or validation set, if there is none), in eval mode and without
        augmentation.

    Raises:
        InputError: A run with this name was started with other arguments, another process uses the directory, or it
            has files of these names that no study wrote.
    """
    if "LOCAL_RANK" in os.environ:
        raise InputError("study: each run trains on one device. Remove torchrun or trainer.devices.")
    folder, table = OutputFolder(directory, "curves.png"), directory / "results.csv"
    os.environ["WANDB_RUN_GROUP"] = directory.name
    with lock(directory):
        rows: list[dict[str, Any]] = [*read_csv(table)]
        if strange := [row for row in rows if not row.get("step") or not row.get("seed", "").isdecimal()]:
            raise InputError(f"{table}: {strange[0]} is not a row of a study. Give another --output.")
        done = {(row["step"], int(row["seed"])) for row in rows}
        for step in study.steps:
            for seed in study.seeds:
                run_directory = directory / f"{step.name}-{seed}"
                _remember(run_directory, step, more)
                if (step.name, seed) not in done:
                    rows.append({"step": step.name, "seed": seed, **_run(step, seed, run_directory, more)})
                    write_csv(table, rows)
        with folder.write("curves.png") as path:
            _draw(rows, directory).savefig(path, format="png", dpi=120)
    return rows


def _remember(directory: Path, step: Step, more: Sequence[str]) -> None:
    """Stores the arguments of a run and its config with all included files, and refuses to continue with others."""
    directory.mkdir(exist_ok=True)
    file, arguments = directory / "arguments.json", {"config": read_included(step.config), **step.arguments}
    text = json.dumps({**arguments, "more": list(more)}, indent=2, default=str)
    if file.is_file() and file.read_text("utf-8") != text:
        raise InputError(
            f"{file}: this run was started with another config or other arguments. Give another --output, or remove "
            "the folder of the run and its row in results.csv."
        )
    write_text(file, text)


def _run(step: Step, seed: int, directory: Path, more: Sequence[str]) -> dict[str, Any]:
    """Fits, starting from the last checkpoint if there is one, and evaluates the weights."""
    items = sorted(step.arguments.items(), key=lambda item: item[0].count("."))  # a class before its options
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in items}
    changes = [part for key, text in texts.items() for part in (f"--{key}", text)]
    common = ["-c", str(step.config), *changes, "--trainer.devices", "1", *more, "--seed_everything", str(seed)]
    start, last = time.perf_counter(), _last(directory)
    place = ["--trainer.default_root_dir", str(directory / "fit")]
    run("fit", [*common, *place, *(["--ckpt_path", str(last)] if last else [])])
    seconds, last = time.perf_counter() - start, _last(directory)
    if last is None:
        raise InputError(f"{directory}: the fit ended before its first checkpoint. Allow more time or steps.")
    place = ["--trainer.default_root_dir", str(directory / "test"), "--trainer.logger", "false", "--report", "false"]
    cli = run("test", [*common, *place, "--ckpt_path", str(last)])
    metric = cli.model.monitor.removeprefix("val/")
    test = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    (train,) = cli.trainer.validate(cli.model, cli.datamodule.loader("train"), verbose=False)
    row = {"epochs": read_checkpoint(last)["epoch"] + 1, "seconds": round(seconds)}
    row |= {f"train/{name}": train[f"val/{name}"] for name in ("loss", metric)}
    split = cli.datamodule.test_split
    return row | {f"{split}/{name}": test[f"{split}/{name}"] for name in ("loss", metric, f"{metric}_baseline")}


def _last(directory: Path) -> Path | None:
    return max(directory.glob("fit/*/*/last.ckpt"), key=lambda path: path.stat().st_mtime, default=None)


def curve(directory: Path, name: str) -> dict[int, float]:
    """Returns a figure of a run by epoch, counted from 1; the newest value if several fits continued each other."""
    rows = [row for path in sorted(directory.glob("fit/*/*/metrics.csv")) for row in read_csv(path)]
    return {int(row["epoch"]) + 1: float(row[name]) for row in rows if row.get(name)}


def _draw(rows: Sequence[dict[str, Any]], directory: Path) -> Figure:
    """Plots validation loss and monitored metric by epoch: one line per run, one color per step."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    steps = list(dict.fromkeys(row["step"] for row in rows))
    axes, known = figure.subplots(1, 2), set()
    for row in rows:
        step = row["step"]
        metric = next((k for k, v in row.items() if k.endswith("_baseline") and v not in (None, "")), "test/loss")
        names = "val/loss", metric.replace("test/", "val/").removesuffix("_baseline")
        for axis, name in zip(axes, names, strict=True):
            points = curve(directory / f"{step}-{row['seed']}", name)
            label = None if step in known else step  # one entry per step in the legend
            axis.plot(list(points), list(points.values()), color=f"C{steps.index(step) % 10}", label=label)
            axis.set(title=name, xlabel="epoch")
            axis.grid(alpha=0.3)
            known.add(step)
    figure.legend(loc="outside right upper")
    return figure


def _print(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the figures of each step, averaged over the seeds."""
    lines = []
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(("train/", "val/", "test/")))
    for step in dict.fromkeys(row["step"] for row in rows):
        some = [row for row in rows if row["step"] == step]
        cells = []
        for name in names:
            values = [float(row[name]) for row in some if row.get(name) not in (None, "")]
            cells.append(f"{mean(values):.4f}" if values else "")
        lines.append([step, str(len(some)), *cells, f"{mean(float(row['seconds']) for row in some):.0f}"])
    print_table("mean over the seeds", ["step", "seeds", *names, "seconds"], lines)


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Runs a study and prints its table."""
    directory = options.output or Path("runs", options.study.stem)
    _print(run_study(read_study(options.study), directory, more))
    print(f"{directory / 'results.csv'}, {directory / 'curves.png'}")
