"""A fit that resumes goes on in its run directory; what its command says takes effect or is refused."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from visiontasks.callbacks import Checkpoints
from visiontasks.cli import main
from visiontasks.core.errors import InputError
from visiontasks.core.lock import lock
from visiontasks.tasks.checkpoint import read_checkpoint

CONFIG = """
model:
  class_path: ClassificationTask
  init_args:
    backbone: {name: test_resnet, pretrained: false}
    optimizer: {class_path: SGD, init_args: {lr: 0.05, momentum: 0.9}}
data:
  dataset: {class_path: Shapes, init_args: {count: 16, size: 32}}
  image_size: 32
  batch_size: 4
trainer:
  accelerator: cpu
  max_epochs: 2
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  default_root_dir: runs
"""


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs `fit` with the config, and returns the run directory that it changed last."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(CONFIG)

    def command(*args: str) -> Path:
        main(["fit", "-c", "small.yaml", *args])
        return max(Path("runs/small").iterdir(), key=lambda path: path.stat().st_mtime)

    return command


def stopped(fit: Callable[..., Path], step: int, *args: str) -> Path:
    """The run of a fit that was interrupted after a step."""

    def interrupt(self: Checkpoints, trainer: Any, *args: Any) -> None:
        before(self, trainer, *args)
        if trainer.global_step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)

    before = Checkpoints.on_train_batch_start
    Checkpoints.on_train_batch_start = interrupt
    try:
        with pytest.raises(SystemExit) as stop:
            fit(*args)
    finally:
        Checkpoints.on_train_batch_start = before
    assert stop.value.code == 143
    return max(Path("runs/small").iterdir(), key=lambda path: path.stat().st_mtime)


def rows(run: Path, column: str) -> list[tuple[int, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), row[column]) for row in csv.DictReader(file) if row.get(column)]


def error_of(capsys: pytest.CaptureFixture, fit: Callable[..., Path], *args: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        fit(*args)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    return line


def same(one: Path, other: Path) -> bool:
    a, b = (read_checkpoint(run / "last.ckpt")["state_dict"] for run in (one, other))
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_that_was_interrupted_goes_on_where_it_was(
    fit: Callable[..., Path], capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit()
    caplog.set_level(logging.INFO)
    run = stopped(fit, 3)
    assert capfd.readouterr().err.splitlines()[-1] == "interrupted by SIGTERM"
    assert f"Saved step 3. To resume: visiontasks fit -c small.yaml --ckpt_path {run}/last.ckpt" in caplog.text
    assert f"Run directory: {run}. To resume it: visiontasks fit -c small.yaml --ckpt_path {run}/last.ckpt" in caplog.text
    assert not (run / "best.ckpt").exists()
    assert not (run / ".lock").exists()
    assert fit("--ckpt_path", "auto") == run
    assert len([*Path("runs/small").iterdir()]) == 2
    assert same(whole, run)
    for column in ("train/loss", "val/loss", "train/accuracy", "val/accuracy"):
        assert rows(run, column) == rows(whole, column)
    assert (run / "best.ckpt").exists()
    assert (run / "curves.png").exists()


def test_the_best_so_far_stays_the_best(fit: Callable[..., Path]) -> None:
    run = fit("--trainer.max_epochs", "1")
    best = read_checkpoint(run / "best.ckpt")
    fit("--trainer.max_epochs", "2", "--ckpt_path", str(run / "last.ckpt"), "--model.optimizer.lr", "1e-9")
    scores = dict(rows(run, "val/accuracy"))
    (state,) = (state for key, state in read_checkpoint(run / "last.ckpt")["callbacks"].items() if "Checkpoints" in key)
    assert state["best"]["val/accuracy"] == pytest.approx(max(map(float, scores.values())))
    assert read_checkpoint(run / "best.ckpt")["global_step"] == best["global_step"]
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_epochs"] == 2
    assert yaml.safe_load((run / "config-1.yaml").read_text())["trainer"]["max_epochs"] == 1


def test_a_fit_from_best_gets_its_own_directory_and_keeps_the_best(fit: Callable[..., Path]) -> None:
    run = fit("--trainer.max_epochs", "1")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    other = fit("--ckpt_path", str(run / "best.ckpt"), "--model.optimizer.lr", "1e-9")
    assert other != run
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert (other / "best.ckpt").read_bytes() == before["best.ckpt"]


def test_a_complete_run_says_so_and_goes_on_with_more_epochs(
    fit: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    run = fit()
    before = (run / "last.ckpt").read_bytes()
    caplog.set_level(logging.INFO)
    fit("--ckpt_path", "last")
    assert f"{run}/last.ckpt: this fit is complete. To train longer, give more --trainer.max_epochs." in caplog.text
    assert (run / "last.ckpt").read_bytes() == before
    fit("--ckpt_path", "last", "--trainer.max_epochs", "3")
    assert "trainer.max_epochs: 2 in the checkpoint, 3 from now on." in caplog.text
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 12


def test_auto_starts_a_run_and_last_needs_one(
    fit: Callable[..., Path], capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    assert "--ckpt_path last: no run in runs/small has a last.ckpt" in error_of(capsys, fit, "--ckpt_path", "last")
    run = fit("--ckpt_path", "auto", "--trainer.max_epochs", "1")
    broken = Path("runs/small/29991231-000000")
    broken.mkdir()
    (broken / "last.ckpt").write_bytes(b"broken")
    with pytest.warns(UserWarning, match=f"{broken}/last.ckpt: broken .* Looking for an older run."):
        fit("--ckpt_path", "auto")
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 8


def test_a_run_in_use_is_refused(fit: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    run = fit("--trainer.max_epochs", "1")
    with lock(run):
        assert f"{run}: in use by process {os.getpid()}" in error_of(capsys, fit, "--ckpt_path", str(run / "last.ckpt"))
