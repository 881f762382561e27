"""Runs that are compared: one command, one table, one picture."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from visiontasks.samples import InputError
from visiontasks.training import main as run

KEYS = {"config", "steps", "seeds", "cumulative"}


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
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: no study's file ({error}).") from None
    if not isinstance(content, dict) or not isinstance(content.get("steps"), dict) or not content["steps"]:
        raise InputError(f"{path}: expected `steps`, each a name with its arguments.")
    if unknown := sorted(content.keys() - KEYS):
        raise InputError(f"{path}: the key {unknown[0]!r} is not one of {', '.join(sorted(KEYS))}.")
    steps: list[Step] = []
    for name, arguments in content["steps"].items():
        arguments = dict(arguments or {})
        config = arguments.pop("config", content.get("config"))
        if config is None or not (file := path.parent / config).is_file():
            raise InputError(f"{path}: the step {name!r} has no config: {config!r} is not a file beside this one.")
        if content.get("cumulative") and steps:
            arguments = steps[-1].arguments | arguments
        steps.append(Step(str(name).replace("/", "-"), file, arguments))
    return Study(steps, content.get("seeds", [0]))


def run_study(study: Study, directory: Path, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Trains each step with each seed, unless `results.csv` in the directory has it, and goes on where a fit stopped.

    Each run has a folder of its own in the directory. `results.csv` grows with each, and at the end there is
    `curves.png`.

    Args:
        study: What to run.
        directory: Folder of its runs.
        more: Arguments of `fit` for every step.

    Returns:
        A row for each run: `step`, `seed`, `arguments`, `epochs`, `seconds` of the last fit, and of the last epoch's
        weights, all in eval mode and without augmentation, loss and monitored metric on the training set and in test.

    Raises:
        InputError: `results.csv` has a run of this name with other arguments.
    """
    if "LOCAL_RANK" in os.environ:
        raise InputError("study: each run trains on one device. Set trainer.devices: 1 in its config.")
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_RUN_GROUP"] = directory.name
    table = directory / "results.csv"
    rows = _read(table)
    for step in study.steps:
        for seed in study.seeds:
            arguments = json.dumps({"config": step.config.name, **step.arguments, "more": list(more)})
            known = [row for row in rows if (row["step"], int(row["seed"])) == (step.name, seed)]
            if known and known[0]["arguments"] != arguments:
                raise InputError(
                    f"{table}: {step.name} was run with {known[0]['arguments']}, not {arguments}. Remove its row and "
                    "its folder, or give another --output."
                )
            if not known:
                found = _run(step, seed, directory / f"{step.name}-{seed}", more)
                rows.append({"step": step.name, "seed": seed, "arguments": arguments, **found})
                _write(table, rows)
    _draw(study, directory)
    return rows


def _run(step: Step, seed: int, directory: Path, more: Sequence[str]) -> dict[str, Any]:
    """Fits, from the last checkpoint if there is one, and measures the result."""
    changes = [part for key, value in step.arguments.items() for part in (f"--{key}", _text(value))]
    common = ["-c", str(step.config), *changes, *more, "--seed_everything", str(seed)]
    common += ["--trainer.default_root_dir", str(directory)]
    start, last = time.perf_counter(), _last(directory)
    run("fit", [*common, *(["--ckpt_path", str(last)] if last else [])])
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()  # else the next fit would go on in this run
    seconds, last = time.perf_counter() - start, _last(directory)
    cli = run("test", [*common, "--trainer.logger", "false", "--ckpt_path", str(last)])
    metric, trainer = cli.model.monitor.removeprefix("val/"), cli.trainer
    test = {name: float(value) for name, value in trainer.callback_metrics.items()}
    (train,) = trainer.validate(cli.model, cli.datamodule.loader("train"), verbose=False)
    return {
        "epochs": cli.trainer.max_epochs,
        "seconds": round(seconds),
        **{f"train/{name}": train[f"val/{name}"] for name in ("loss", metric)},
        **{name: test[name] for name in ("test/loss", f"test/{metric}", f"test/{metric}_floor")},
    }


def _last(directory: Path) -> Path | None:
    """The newest `last.ckpt` of a run, which a fit that stopped leaves too."""
    found = sorted(directory.glob("*/*/last.ckpt"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read(table: Path) -> list[dict[str, Any]]:
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(table: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    new = table.with_suffix(".new")
    with new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    new.replace(table)


def _draw(study: Study, directory: Path) -> None:
    """Loss and monitored metric of validation over the epochs, a line for each run, a colour for each step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for number, step in enumerate(study.steps):
        for seed in study.seeds:
            files = sorted(directory.glob(f"{step.name}-{seed}/*/*/metrics.csv"))
            rows = [row for path in files for row in _read(path)]
            metric = next(name for name in rows[0] if name.endswith("_floor")).removesuffix("_floor")
            for axis, name in zip(axes, ("val/loss", metric), strict=True):
                points = {int(row["epoch"]) + 1: float(row[name]) for row in rows if row.get(name)}
                label = step.name if seed == study.seeds[0] else None
                axis.plot(*zip(*sorted(points.items()), strict=True), color=f"C{number % 10}", label=label)
                axis.set(title=name, xlabel="epoch")
    axes[0].legend()
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(directory / "curves.png", dpi=120)


def print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Prints the mean over the seeds of each step's figures."""
    rows = list(rows)
    names = [name for name in rows[0] if name.startswith(("train/", "test/"))]
    table = Table(title="mean over the seeds", title_justify="left")
    for name in ("step", "seeds", *names, "seconds"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for step in dict.fromkeys(row["step"] for row in rows):
        some = [row for row in rows if row["step"] == step]
        means = [
            f"{mean(float(row[name]) for row in some):.4f}" for name in names if all(row.get(name) for row in some)
        ]
        table.add_row(step, str(len(some)), *means, f"{mean(float(row['seconds']) for row in some):.0f}")
    Console().print(table)


def main(command: str, args: Sequence[str]) -> None:
    """The command `visiontasks study`."""
    parser = argparse.ArgumentParser(
        prog=f"visiontasks {command}",
        description="Train configs in turn, compare them.",
        epilog="All other arguments are those of fit, and count for every run.",
    )
    parser.add_argument("study", type=Path, help="a study's file, such as configs/studies/cifar10.yaml")
    parser.add_argument("--output", type=Path, help="folder of its runs (default: runs/NAME OF THE FILE)")
    options, more = parser.parse_known_args(args)
    directory = options.output or Path("runs", options.study.stem)
    print_table(run_study(read_study(options.study), directory, more))
    print(f"{directory / 'results.csv'}, {directory / 'curves.png'}")
