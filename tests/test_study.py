"""Runs that are compared (R1)."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from visiontasks.cli import main
from visiontasks.cli.study import _remember, curve, read_study, run_study
from visiontasks.core.errors import InputError
from visiontasks.core.lock import lock
from visiontasks.data import Shapes, VisionDataModule
from visiontasks.tasks.restore import restore_task

CONFIG = {
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False, "logger": False},
    "report": False,
    "model": {
        "class_path": "ClassificationTask",
        "init_args": {"backbone": {"name": "test_resnet", "pretrained": False}},
    },
    "data": {
        "dataset": {"class_path": "Shapes", "init_args": {"count": 16, "size": 32}},
        "image_size": 32,
        "batch_size": 8,
    },
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a study with the config that it changes; returns its path."""
    monkeypatch.chdir(tmp_path)

    def write(**content: Any) -> Path:
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(CONFIG))
        (tmp_path / "rates.yaml").write_text(yaml.safe_dump({"config": "base.yaml", **content}, sort_keys=False))
        return tmp_path / "rates.yaml"

    return write


def results(path: Path) -> list[dict[str, str]]:
    with (path.parent / "runs/rates/results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_study_has_a_row_for_each_step_and_seed(write: Any, capsys: Any) -> None:
    path = write(seeds=[0, 1], steps={"slow": {"model.optimizer.lr": 1e-4}, "fast": {"model.optimizer.lr": 1e-2}})
    main(["study", str(path)])
    rows = results(path)
    assert [(row["step"], row["seed"]) for row in rows] == [("slow", "0"), ("slow", "1"), ("fast", "0"), ("fast", "1")]
    names = [f"{part}/{name}" for part in ("train", "test") for name in ("loss", "accuracy")]
    assert all(float(row[name]) >= 0 for row in rows for name in names)
    assert len({row["train/loss"] for row in rows}) == 4
    assert rows[0]["epochs"] == "2"
    assert Image.open(path.parent / "runs/rates/curves.png").width > 1000
    assert "mean over the seeds" in capsys.readouterr().out


@pytest.mark.slow
def test_a_class_keeps_the_options_that_earlier_steps_gave(write: Any) -> None:
    path = write(steps={"rate": {"model.optimizer.lr": 0.25}, "class": {"model.optimizer": "SGD"}}, cumulative=True)
    main(["study", str(path), "--trainer.max_epochs", "1"])
    (file,) = (path.parent / "runs/rates/class-0").glob("fit/*/*/config.yaml")
    optimizer = yaml.safe_load(file.read_text())["model"]["init_args"]["optimizer"]
    assert (optimizer["class_path"], optimizer["init_args"]["lr"]) == ("torch.optim.SGD", 0.25)


def test_the_figures_are_those_of_the_last_weights_in_eval_mode(write: Any) -> None:
    path = write(steps={"only": {}})
    main(["study", str(path)])
    (row,) = results(path)
    (metrics,) = (path.parent / "runs/rates/only-0").glob("fit/*/*/metrics.csv")
    with metrics.open() as file:
        fitted = {int(r["epoch"]) + 1: float(r["val/loss"]) for r in csv.DictReader(file) if r["val/loss"]}
    assert curve(path.parent / "runs/rates/only-0", "val/loss") == fitted
    assert list(fitted) == [1, 2]
    (checkpoint,) = (path.parent / "runs/rates/only-0/fit").glob("*/*/last.ckpt")
    data = VisionDataModule(partial(Shapes, count=16, size=32), image_size=32, augment="strong")
    task = restore_task(str(checkpoint)).eval()
    for split in ("train", "test"):
        (batch,) = data.loader(split)
        with torch.no_grad():
            output = task(batch["image"])["label"]
        loss, right = task.heads["label"].loss(output, batch["label"]), output.argmax(1) == batch["label"]
        assert float(row[f"{split}/loss"]) == pytest.approx(float(loss), abs=1e-5)
        assert float(row[f"{split}/accuracy"]) == pytest.approx(float(right.float().mean()))


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped(write: Any) -> None:
    path = write(steps={"first": {}})
    main(["study", str(path)])
    (run,) = (path.parent / "runs/rates/first-0/fit/base").glob("*/last.ckpt")
    # the second step was stopped after its first epoch
    stopped = ["--trainer.max_epochs", "1", "--trainer.default_root_dir", "runs/rates/second-0/fit"]
    main(["fit", "-c", str(path.parent / "base.yaml"), *stopped])
    path = write(steps={"first": {}, "second": {}})
    main(["study", str(path)])
    first, second = results(path)
    assert list((path.parent / "runs/rates/first-0/fit/base").glob("*/last.ckpt")) == [run]  # not trained again
    (fit,) = (path.parent / "runs/rates/second-0/fit/base").glob("*/last.ckpt")
    with fit.with_name("metrics.csv").open() as file:
        assert {row["epoch"] for row in csv.DictReader(file)} == {"0", "1"}  # both fits
    assert first.keys() == second.keys()


def test_other_arguments_under_an_old_name_are_an_error(write: Any, capsys: Any) -> None:
    path = write(steps={"only": {}})
    main(["study", str(path)])
    path = write(steps={"only": {"data.batch_size": 4}})
    with pytest.raises(SystemExit):
        main(["study", str(path)])
    assert "started with another config or other arguments" in capsys.readouterr().err


def test_a_changed_included_file_is_noticed(write: Any, tmp_path: Path) -> None:
    (step,) = read_study(write(steps={"only": {}})).steps
    (tmp_path / "deep.yaml").write_text("{class_path: Shapes, init_args: {count: 16}}")
    (tmp_path / "data.yaml").write_text("{dataset: deep.yaml, image_size: 32}")
    step.config.write_text("data: data.yaml")
    _remember(tmp_path / "run", step, [])
    _remember(tmp_path / "run", step, [])
    (tmp_path / "deep.yaml").write_text("{class_path: Shapes, init_args: {count: 17}}")
    with pytest.raises(InputError, match="started with another config"):
        _remember(tmp_path / "run", step, [])
    (tmp_path / "deep.yaml").write_text("dataset: data.yaml")
    with pytest.raises(InputError, match="includes itself"):
        _remember(tmp_path / "run", step, [])


def test_a_folder_of_something_else_is_refused(write: Any, tmp_path: Path) -> None:
    study = read_study(write(steps={"only": {}}))
    (tmp_path / "out").mkdir()
    with lock(tmp_path / "out"), pytest.raises(InputError, match="out: in use by"):
        run_study(study, tmp_path / "out")
    (tmp_path / "out/results.csv").write_text("name,score\na,1\n")
    with pytest.raises(InputError, match=r"results\.csv: .* is not a row of a study"):
        run_study(study, tmp_path / "out")
    (tmp_path / "out/curves.png").touch()
    with pytest.raises(InputError, match=r"curves\.png: would be replaced, but no earlier run wrote it"):
        run_study(study, tmp_path / "out")


def test_steps_add_up_where_they_are_cumulative(write: Any) -> None:
    steps = {"a": {"x": 1, "y": 1}, "b": {"y": 2}, "c": None}
    found = read_study(write(steps=steps, cumulative=True)).steps
    assert [step.arguments for step in found] == [{"x": 1, "y": 1}, {"x": 1, "y": 2}, {"x": 1, "y": 2}]
    found = read_study(write(steps=steps)).steps
    assert [step.arguments for step in found] == [{"x": 1, "y": 1}, {"y": 2}, {}]


FAULTS = {
    "expected `steps`": {"steps": {}},
    "the key 'step' is not one of config, cumulative, seeds, steps": {"step": {}, "steps": {"a": {}}},
    "seeds: 3 is not a list of integers": {"seeds": 3, "steps": {"a": {}}},
    "the step 'a/b': expected a name of letters": {"steps": {"a/b": {}}},
    "the step 'a': expected": {"steps": {"a": 5}},
    "the step 'a' has no config: 'other.yaml' is not a file in the same folder": {
        "steps": {"a": {"config": "other.yaml"}}
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_an_error_that_says_what(write: Any, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        read_study(write(**FAULTS[fault]))
