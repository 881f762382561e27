"""Runs that are compared: one command, one table, one picture."""

import argparse
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from visiontasks.callbacks.wandb import finish_runs
from visiontasks.cli.parser import read_yaml
from visiontasks.cli.training import main as run
from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv, write_csv
from visiontasks.tasks.checkpoint import read_checkpoint

KEYS = {"config", "steps", "seeds", "cumulative"}
NAME = r"\w[\w ,.+-]*"


class Step(NamedTuple):
    """One line of the table: a config, and the arguments that change it."""

    name: str
    config: Path
    arguments: dict[str, Any]


class Study(NamedTuple):
    """What a study's file says."""

    steps: list[Step]
    seeds: list[int]


def read_study(path: Path) -> Study:
    """Reads a study's file.

    It has `steps`, each a name with arguments by their dotted names (`data.batch_size: 16`) and perhaps a `config` of
    its own; the `config` of all other steps, from the file's folder; `seeds`, 0 if not given; and `cumulative: true`
    where each step keeps the arguments of those before.

    Raises:
        InputError: The file, a key or a step is wrong; the message says which.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a study's, such as configs/studies/cifar10.yaml.")
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("steps"), dict) or not content["steps"]:
        raise InputError(f"{path}: expected `steps`, each a name with its arguments.")
    if unknown := sorted(content.keys() - KEYS):
        raise InputError(f"{path}: the key {unknown[0]!r} is not one of {', '.join(sorted(KEYS))}.")
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise InputError(f"{path}: seeds: {seeds!r} is not a list of whole numbers, such as [0, 1, 2].")
    steps: list[Step] = []
    for name, arguments in content["steps"].items():
        if not isinstance(arguments, dict | None) or not re.fullmatch(NAME, str(name)):
            raise InputError(
                f"{path}: the step {name!r}: expected a name of letters, digits, spaces, and its arguments."
            )
        arguments = dict(arguments or {})
        config = str(arguments.pop("config", content.get("config")))
        if not (file := path.parent / config).is_file():
            raise InputError(f"{path}: the step {name!r} has no config: {config!r} is not a file beside this one.")
        if content.get("cumulative") and steps:
            arguments = steps[-1].arguments | arguments
        steps.append(Step(str(name), file, arguments))
    return Study(steps, seeds)


def run_study(study: Study, directory: Path, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Trains each step with each seed, unless `results.csv` in the directory has it, and goes on where a fit stopped.

    Each run has a folder of its own in the directory. `results.csv` grows with each, and at the end there is
    `curves.png`.

    Args:
        study: What to run.
        directory: Folder of its runs.
        more: Arguments of `fit` for every step.

    Returns:
        A row for each run: `step`, `seed`, `epochs`, `seconds` of the last fit, and of the last epoch's
        weights, all in eval mode and without augmentation, loss and monitored metric on the training set and in test.

    Raises:
        InputError: A run of this name was made, or begun, with other arguments.
    """
    if "LOCAL_RANK" in os.environ:
        raise InputError("study: each run trains on one device. Leave torchrun, or trainer.devices, out.")
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_RUN_GROUP"] = directory.name
    table = directory / "results.csv"
    rows: list[dict[str, Any]] = [*read_csv(table)]
    done = {(row["step"], int(row["seed"])) for row in rows}
    for step in study.steps:
        for seed in study.seeds:
            run_directory = directory / f"{step.name}-{seed}"
            _remember(run_directory, {"config": step.config.read_text("utf-8"), **step.arguments, "more": list(more)})
            if (step.name, seed) not in done:
                rows.append({"step": step.name, "seed": seed, **_run(step, seed, run_directory, more)})
                write_csv(table, rows)
    _draw(rows, directory)
    return rows


def _remember(directory: Path, arguments: dict[str, Any]) -> None:
    """Keeps what a run is made with, and refuses to go on with something else."""
    directory.mkdir(exist_ok=True)
    file, text = directory / "arguments.json", json.dumps(arguments, indent=2)
    if file.is_file() and file.read_text("utf-8") != text:
        raise InputError(
            f"{file}: this run was begun with another config or other arguments. Give another --output, or remove its "
            "folder, and its row in results.csv."
        )
    file.write_text(text, "utf-8")


def _run(step: Step, seed: int, directory: Path, more: Sequence[str]) -> dict[str, Any]:
    """Fits, from the last checkpoint if there is one, and measures the result."""
    changes = [part for key, value in step.arguments.items() for part in (f"--{key}", _text(value))]
    common = ["-c", str(step.config), *changes, "--trainer.devices", "1", *more, "--seed_everything", str(seed)]
    start, last = time.perf_counter(), _last(directory)
    place = ["--trainer.default_root_dir", str(directory / "fit")]
    fit = run("fit", [*common, *place, *(["--ckpt_path", str(last)] if last else [])])
    finish_runs(fit.trainer.loggers)  # else the next fit would go on in the same one
    seconds, last = time.perf_counter() - start, _last(directory)
    if last is None:
        raise InputError(f"{directory}: the fit ended before its first checkpoint. Give it more time or steps.")
    place = ["--trainer.default_root_dir", str(directory / "test"), "--trainer.logger", "false"]
    cli = run("test", [*common, *place, "--ckpt_path", str(last)])
    metric, trainer = cli.model.monitor.removeprefix("val/"), cli.trainer
    test = {name: float(value) for name, value in trainer.callback_metrics.items()}
    (train,) = trainer.validate(cli.model, cli.datamodule.loader("train"), verbose=False)
    return {
        "epochs": read_checkpoint(last)["epoch"] + 1,
        "seconds": round(seconds),
        **{f"train/{name}": train[f"val/{name}"] for name in ("loss", metric)},
        **{name: test[name] for name in ("test/loss", f"test/{metric}", f"test/{metric}_baseline")},
    }


def _last(directory: Path) -> Path | None:
    """The newest `last.ckpt` of a run, which a fit that stopped leaves too."""
    found = sorted(directory.glob("fit/*/*/last.ckpt"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def curve(directory: Path, name: str) -> dict[int, float]:
    """A figure of a run by its epoch, counted from 1; of several fits, each from where the last stopped, the newest."""
    rows = [row for path in sorted(directory.glob("fit/*/*/metrics.csv")) for row in read_csv(path)]
    return {int(row["epoch"]) + 1: float(row[name]) for row in rows if row.get(name)}


def _draw(rows: Sequence[dict[str, Any]], directory: Path) -> None:
    """Loss and monitored metric of validation over the epochs, a line for each run, a color for each step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    steps = list(dict.fromkeys(row["step"] for row in rows))
    for place, axis in enumerate(figure.subplots(1, 2)):
        known = set()
        for row in rows:
            metric = next((k for k, v in row.items() if k.endswith("_baseline") and v not in (None, "")), "test/loss")
            name = ("val/loss", metric.replace("test/", "val/").removesuffix("_baseline"))[place]
            points = curve(directory / f"{row['step']}-{row['seed']}", name)
            label = None if place or row["step"] in known else row["step"]
            axis.plot(list(points), list(points.values()), color=f"C{steps.index(row['step']) % 10}", label=label)
            axis.set(title=name, xlabel="epoch")
            known.add(row["step"])
        axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(directory / "curves.png", dpi=120)


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the mean over the seeds of each step's figures."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(("train/", "test/")))
    table = Table(title="mean over the seeds", title_justify="left")
    for name in ("step", "seeds", *names, "seconds"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for step in dict.fromkeys(row["step"] for row in rows):
        some = [row for row in rows if row["step"] == step]
        cells = []
        for name in names:
            values = [float(row[name]) for row in some if row.get(name) not in (None, "")]
            cells.append(f"{mean(values):.4f}" if values else "")
        table.add_row(step, str(len(some)), *cells, f"{mean(float(row['seconds']) for row in some):.0f}")
    Console().print(table)


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """The command `visiontasks study`."""
    directory = options.output or Path("runs", options.study.stem)
    print_table(run_study(read_study(options.study), directory, more))
    print(f"{directory / 'results.csv'}, {directory / 'curves.png'}")
