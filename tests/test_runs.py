"""A fit that resumes goes on in its run directory; what its command says takes effect or is refused."""

from __future__ import annotations

import csv
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
from visiontasks.cli.runs import runs_folder
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
report: false
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


def stopped(fit: Callable[..., Path], step: int, *args: str, number: int = signal.SIGTERM) -> Path:
    """The run of a fit that got a signal in a step."""

    def interrupt(self: Checkpoints, trainer: Any, *args: Any) -> None:
        before(self, trainer, *args)
        if trainer.global_step + 1 == step:
            os.kill(os.getpid(), number)

    before = Checkpoints.on_train_batch_start
    Checkpoints.on_train_batch_start = interrupt
    try:
        with pytest.raises(SystemExit) as stop:
            fit(*args)
    finally:
        Checkpoints.on_train_batch_start = before
    assert stop.value.code == 128 + number
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
    assert not (run / "best.ckpt").exists()
    assert not (run / ".lock").exists()
    assert fit("--ckpt_path", "auto") == run
    assert len([*Path("runs/small").iterdir()]) == 2
    assert same(whole, run)
    for column in ("train/loss", "val/loss", "train/accuracy", "val/accuracy"):
        assert rows(run, column) == rows(whole, column)
    assert (run / "best.ckpt").exists()
    assert (run / "curves.png").exists()
    assert str(Path.cwd()).encode() not in (run / "last.ckpt").read_bytes()  # it may be given away


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
    fit("--ckpt_path", "last", "--trainer.max_epochs", "3", "--trainer.max_steps", "5")
    assert "this fit is complete. To train longer, give more --trainer.max_steps." in caplog.text
    fit("--ckpt_path", "last", "--trainer.max_epochs", "3")
    assert "trainer.max_epochs: 2 in the checkpoint, 3 from now on." in caplog.text
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 12


@pytest.mark.slow
def test_a_resumed_fit_needs_no_start_weights_and_keeps_checkpoints_of_its_own(fit: Callable[..., Path]) -> None:
    first = fit("--trainer.max_epochs", "1")
    (first / "best.ckpt").rename("start.ckpt")
    given = ["--model.weights", "start.ckpt", "--trainer.callbacks+=ModelCheckpoint"]
    run = stopped(fit, 6, *given)
    assert run != first
    Path("start.ckpt").unlink()
    assert fit(*given, "--ckpt_path", str(run / "last.ckpt")) == run
    assert (run / "checkpoints/epoch=1-step=8.ckpt").is_file()


def test_a_damaged_history_is_no_obstacle(fit: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    run = fit("--trainer.max_epochs", "1")
    more, path = ["--ckpt_path", str(run / "last.ckpt"), "--trainer.max_epochs", "2"], run / "metrics.csv"
    whole = path.read_bytes()
    path.write_bytes(b"\xff\xfe")
    assert f"{path}: not a CSV file" in error_of(capsys, fit, *more)
    path.write_bytes(whole[: whole.index(b"\n0,") + 2])  # its only row has no step
    fit(*more)
    assert [step for step, _ in rows(run, "val/loss")] == [7]
    assert (run / "metrics-1.csv").is_file()


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


def test_a_fit_that_another_one_finished_meanwhile_is_complete(
    fit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = fit("--trainer.max_epochs", "1")
    before = (run / "last.ckpt").read_bytes()
    fit("--ckpt_path", str(run / "last.ckpt"))
    finished, metrics = (run / "last.ckpt").read_bytes(), (run / "metrics.csv").read_bytes()
    (run / "last.ckpt").write_bytes(before)

    def finish(folder: Path) -> Any:
        (folder / "last.ckpt").write_bytes(finished)
        return lock(folder)

    monkeypatch.setattr("visiontasks.cli.training.lock", finish)
    caplog.set_level(logging.INFO)
    fit("--ckpt_path", str(run / "last.ckpt"))
    assert "this fit is complete" in caplog.text
    assert (run / "metrics.csv").read_bytes() == metrics


def groups(run: Path) -> list[dict[str, Any]]:
    return read_checkpoint(run / "last.ckpt")["optimizer_states"][0]["param_groups"]


TYPED = {
    "model.optimizer.lr": ("0.5", "lr", 0.5),
    "model.optimizer.momentum": ("0.3", "momentum", 0.3),
    "model.optimizer.weight_decay": ("0.1", "weight_decay", 0.1),
    "model.optimizer.nesterov": ("true", "nesterov", True),
    "model.backbone_lr_ratio": ("0.2", "lr", 0.1),
}


def test_typed_options_of_the_optimizer_take_effect(fit: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    constant = ["--model.schedule", "Constant"]
    run = fit(*constant, "--trainer.max_epochs", "1")
    caplog.set_level(logging.INFO)
    typed = [part for name, (text, _, _) in TYPED.items() for part in (f"--{name}", text)]
    fit(*constant, "--ckpt_path", str(run / "last.ckpt"), *typed)
    heads, backbone = groups(run)
    for name, (text, option, value) in TYPED.items():
        assert name == "model.backbone_lr_ratio" or heads[option] == value
        assert re.search(rf"{name}: \S+ in the checkpoint, (?i:{text}) from now on.", caplog.text)
    assert backbone["lr"] == pytest.approx(0.1)


@pytest.mark.slow
def test_a_longer_fit_follows_the_longer_schedule(fit: Callable[..., Path]) -> None:
    run = fit("--trainer.max_epochs", "1")
    assert groups(run)[0]["lr"] == 0
    stopped(fit, 6, "--ckpt_path", str(run / "last.ckpt"), "--trainer.max_epochs", "4")
    (longer,) = (read_checkpoint(run / "last.ckpt")["lr_schedulers"][0],)
    whole = stopped(fit, 6, "--trainer.max_epochs", "4", "--trainer.default_root_dir", "other")
    assert whole == run  # the newest in runs/
    other = next(Path("other/small").iterdir())
    assert longer["_last_lr"] == read_checkpoint(other / "last.ckpt")["lr_schedulers"][0]["_last_lr"]


@pytest.mark.slow
def test_another_batch_size_ends_the_schedule_where_it_should(
    fit: Callable[..., Path], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    run = fit("--trainer.max_epochs", "1", "--data.batch_size", "2")
    caplog.set_level(logging.INFO)
    fit("--ckpt_path", str(run / "last.ckpt"), "--trainer.max_epochs", "2")
    assert "data.batch_size: 2 in the checkpoint, 4 from now on." in caplog.text
    state = read_checkpoint(run / "last.ckpt")
    assert state["global_step"] == 8 + 4
    assert state["lr_schedulers"][0]["last_epoch"] == 8
    assert groups(run)[0]["lr"] == pytest.approx(0, abs=1e-9)
    run = stopped(fit, 3, "--data.batch_size", "2")
    last = str(run / "last.ckpt")
    line = error_of(capsys, fit, "--ckpt_path", last)
    assert f"{last}: written within an epoch. Its rest needs the same batches per epoch: 8, not 4." in line
    line = error_of(capsys, fit, "--ckpt_path", last, "--data.batch_size", "2", "--seed_everything", "1")
    assert "needs the same data.seed: 0, not 1." in line
    line = error_of(capsys, fit, "--ckpt_path", last, "--data.batch_size", "2", "--data.dataset.size", "48")
    assert "needs the same data.dataset: " in line
    fit("--ckpt_path", last, "--data.batch_size", "2")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--model.optimizer", "Adam"],
            "model.optimizer: Adam cannot continue with the state of SGD. Use SGD, or start",
        ),
        (
            ["--model.backbone.name", "test_efficientnet"],
            "do not fit the model of the config: they are those of test_resnet.",
        ),
        (["--model.head.hidden", "[8]"], "do not fit the model of the config: Missing key(s) in state_dict: "),
        (["--model", "MultilabelTask"], "has a ClassificationTask, the config a MultilabelTask. Use the config of its"),
        (["--model.backbone.normalization", "dataset"], "normalization: dataset has no effect, because "),
    ],
)
def test_another_optimizer_or_model_is_refused(
    fit: Callable[..., Path], capsys: pytest.CaptureFixture, args: list[str], message: str
) -> None:
    run = fit("--trainer.max_epochs", "1")
    assert message in error_of(capsys, fit, "--ckpt_path", str(run / "last.ckpt"), *args)


def test_a_rate_without_effect_is_refused(fit: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    freeze = [
        "--trainer.callbacks+=FreezeBackbone",
        "--trainer.callbacks.epochs",
        "1",
        "--trainer.callbacks.lr",
        "0.001",
    ]
    run = fit(*freeze, "--trainer.max_epochs", "2")
    more = ["--trainer.max_epochs", "3", "--ckpt_path", str(run / "last.ckpt")]
    line = error_of(capsys, fit, *freeze, *more, "--model.optimizer.lr", "0.5")
    assert (
        "model.optimizer.lr: 0.5 has no effect, because FreezeBackbone sets the rate from epoch 2 on: lr 0.001." in line
    )
    fit(*freeze, *more)


@pytest.mark.slow
def test_patience_is_the_typed_one(fit: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    still = ["--model.optimizer.lr", "0", "--trainer.max_epochs", "9"]
    caplog.set_level(logging.INFO)

    def said() -> list[str]:
        lines = [line for line in caplog.messages if line.startswith("Early stopping")]
        caplog.clear()
        return lines

    run = fit(*still, "--early_stopping", "1")
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 8
    assert said() == ["Early stopping ended this fit."]
    again = [*still, "--ckpt_path", str(run / "last.ckpt")]
    fit(*again, "--early_stopping", "1")
    assert said() == ["Early stopping ended this fit before. To go on, give a larger --early_stopping."]
    fit(*again, "--early_stopping", "2")
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 12
    assert said() == ["Early stopping ended this fit."]
    fit(*again, "--early_stopping", "2", "--trainer.min_epochs", "4")
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 16
    assert said() == ["Early stopping ended this fit."]


def test_what_a_fit_counted_in_its_data_stays_and_is_said_if_the_data_changes(
    fit: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    def shares(run: Path) -> list[float]:
        return read_checkpoint(run / "last.ckpt")["state_dict"]["heads.label.prior"].tolist()

    last = str(fit("--trainer.max_epochs", "1") / "last.ckpt")
    caplog.set_level(logging.INFO)
    other = ["--data.dataset.count", "17"]
    assert shares(fit("--ckpt_path", last, *other)) == [0.25] * 4
    assert (
        "the names or targets of the training images are not those of the checkpoint. What was counted" in caplog.text
    )
    assert shares(fit("--model.weights", last, *other)) == pytest.approx([5 / 17, *[4 / 17] * 3])


def test_forked_processes_end_like_one(fit: Callable[..., Path]) -> None:
    run = fit("--trainer.devices", "2", "--trainer.strategy", "ddp_fork", "--trainer.max_epochs", "1")
    assert (run / "best.ckpt").is_file()


def test_slurm_queues_the_job_again_and_it_goes_on(fit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Path("scontrol.txt").absolute()
    tool = Path("bin/scontrol")
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho $@ >> {shlex.quote(str(calls))}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent.absolute()}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setattr("visiontasks.core.signals.REQUEUE", signal.SIGUSR1)
    monkeypatch.setattr("visiontasks.callbacks.checkpoints.REQUEUE", signal.SIGUSR1)
    stopped(fit, 3, number=signal.SIGUSR1)
    assert calls.read_text() == "requeue 42\n"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run = fit()
    assert len([*Path("runs/small").iterdir()]) == 1
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 8


@pytest.mark.parametrize("every", ["10", "2min", "1h", 3])
def test_checkpoints_come_after_a_time_or_a_number_of_steps(every: str | int, tmp_path: Path) -> None:
    made = Checkpoints(str(tmp_path), every)
    expected = {"10": (float("inf"), 10), "2min": (120, float("inf")), "1h": (3600, float("inf")), 3: (float("inf"), 3)}
    assert (made.seconds, made.steps) == expected[every]


@pytest.mark.parametrize("every", ["0", "-5", "10 minutes", "1.5h", ""])
def test_other_times_are_refused(every: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"save_every: {every!r} is not a time such as 30s, 10min or 2h, nor a number"):
        Checkpoints(str(tmp_path), every)


def test_a_run_is_named_after_the_config_and_the_data_that_an_argument_names(tmp_path: Path) -> None:
    config, photos = "configs/classification/folder.yaml", tmp_path / "my photos.v2"
    photos.mkdir()
    for args, name in (
        (["-c", config], "folder"),
        (["-c", config, "-c", "other.yaml"], "folder"),
        (["-c", config, "--data.dataset.root", str(photos)], "folder-my_photos.v2"),
        (["-c", config, f"--data.dataset.init_args.root={photos}/"], "folder-my_photos.v2"),
        (["--config=csv.yaml", "--data.dataset.path", "tables/labels.csv"], "csv-labels"),
        ([], "run"),
    ):
        assert runs_folder(None, args) == Path("runs", name)
        assert runs_folder("elsewhere", args) == Path("elsewhere", name)


def test_a_fit_that_is_shorter_than_the_interval_of_validations_is_validated(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(CONFIG)
    interval = ["--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "50"]
    short = ["--trainer.max_epochs", "-1", "--trainer.max_steps", "3", "--trainer.default_root_dir", str(tmp_path)]
    main(["fit", "-c", str(tmp_path / "short.yaml"), *interval, *short])
    (run,) = tmp_path.glob("short/*")
    assert (run / "best.ckpt").is_file()
    assert [step for step, _ in rows(run, "val/loss")] == [2]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["trainer"]["val_check_interval"] == 3
