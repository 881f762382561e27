"""A fit that was interrupted anywhere ends as one that was not: weights, optimizer, schedule, figures, files.

The quick part resumes from some checkpoints, and the slow part from all of them, and after a kill at any moment.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.optim import SGD, AdamW

from visiontasks.callbacks import Checkpoints, ClosedFormStart, FiniteCheck, FreezeBackbone, Mix, Results
from visiontasks.cli.runs import rows_before
from visiontasks.core.files import read_csv, sweep
from visiontasks.core.signals import Interrupted, end_now, handled
from visiontasks.data import Scenes, Shapes, VisionDataModule
from visiontasks.models import Backbone, LabelHead, SMPHead
from visiontasks.tasks import ClassificationTask, DetectionTask, LocalizationTask, SegmentationTask, VisionTask
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint, write_checkpoint


class KeepAll(Checkpoints):
    """Writes `last.ckpt` wherever it is possible, and keeps a copy of each file."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), every=1)

    def _save(self, trainer: Trainer, name: str) -> None:
        super()._save(trainer, name)
        folder = self.directory / "kept"
        folder.mkdir(exist_ok=True)
        shutil.copy(self.directory / name, folder / f"{len([*folder.iterdir()]):02d}-{name}")


TASKS: dict[str, Callable[..., VisionTask]] = {
    "classification": partial(ClassificationTask, head=partial(LabelHead, dropout=0.3)),
    "detection": DetectionTask,
    "localization": LocalizationTask,
    "segmentation": partial(SegmentationTask, head=partial(SMPHead, width=0.125)),
}


SCENES = partial(Scenes, count=24, size=64, objects="all", empty=0.1)


def fit(
    directory: Path,
    ckpt_path: Path | None = None,
    callbacks: Callable[[], list[Any]] = list,
    workers: int = 0,
    optimizer: Any = partial(AdamW, lr=1e-3),
    task: str = "classification",
    keep: bool = True,
    dataset: Any = partial(Shapes, count=24, size=32),
    mosaic: float = 0.0,
    **options: Any,
) -> Trainer:
    """Trains for three epochs of 6 steps; a fit that resumes writes to the same folder."""
    seed_everything(0, verbose=False)
    data = VisionDataModule(dataset, image_size=32, batch_size=4, num_workers=workers, augment="medium", mosaic=mosaic)
    model = TASKS[task](data.spec, Backbone("test_resnet", pretrained=False), optimizer=optimizer)
    logger = CSVLogger(directory, name="", version="")
    if ckpt_path and (directory / "before.csv").exists():
        rows = rows_before(read_csv(directory / "before.csv"), read_checkpoint(ckpt_path))
        logger.experiment.metrics = [{name: value for name, value in row.items() if value} for row in rows]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    checkpoints = KeepAll(directory) if keep else Checkpoints(str(directory), every=1)
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[*callbacks(), FiniteCheck(), Results(), checkpoints],
        logger=logger,
        **{"max_epochs": 3, "log_every_n_steps": 1, **quiet, **options},
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def end_of(trainer: Trainer, directory: Path) -> dict[str, Any]:
    """All that must not depend on an interruption."""
    (schedule,) = trainer.lr_scheduler_configs
    kept: Any = trainer.checkpoint_callback
    rows = [{name: value for name, value in row.items() if value} for row in read_csv(directory / "metrics.csv")]
    return {
        "weights": trainer.lightning_module.state_dict(),
        "optimizer": trainer.optimizers[0].state_dict(),
        "schedule": (schedule.scheduler.last_epoch, schedule.scheduler.get_last_lr()),
        "step": (trainer.global_step, trainer.current_epoch),
        "best": (kept.best, kept.best_epoch),
        "stopping": [one.state_dict() for one in trainer.callbacks if isinstance(one, EarlyStopping)],
        "rows": sorted(tuple(sorted(row.items())) for row in rows),
    }


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other or (one != one and other != other)  # NaN: a class that no image has


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "workers": {"workers": 2},
    "validation within epochs": {"val_check_interval": 0.5},
    "validation by steps": {"check_val_every_n_epoch": None, "val_check_interval": 3},
    "validation in some epochs": {"check_val_every_n_epoch": 2},
    "accumulation": {"accumulate_grad_batches": 2},
    "frozen, mixed": {"callbacks": lambda: [FreezeBackbone(1, lr=2e-3), Mix(p=0.5)]},
    "momentum": {
        "optimizer": partial(SGD, lr=0.1, momentum=0.9),
        "callbacks": lambda: [FreezeBackbone(1, momentum=0.5)],
    },
    "average of weights": {"callbacks": lambda: [EMAWeightAveraging(decay=0.9)]},
    "objects": {
        "task": "detection",
        "dataset": SCENES,
        "mosaic": 0.5,
        "callbacks": lambda: [ClosedFormStart()],
    },
    "early stopping": {"callbacks": lambda: [EarlyStopping("val/accuracy", mode="max", patience=1)], "max_epochs": 6},
    "fewer batches": {"limit_train_batches": 4},
    "the same few batches": {"overfit_batches": 3},
    "steps": {"max_steps": 10, "max_epochs": -1},
}
QUICK = {"workers": 12, "the same few batches": 6}


def check_case(case: str, tmp_path: Path, every: int) -> int:
    """Resumes from every n-th checkpoint of a fit; returns the number of resumed fits."""
    whole = tmp_path / "whole"
    trainer = fit(whole, **CASES[case])
    expected = end_of(trainer, whole)
    kept = sorted((whole / "kept").iterdir())
    checkpoints = [path for path in kept if read_checkpoint(path)["global_step"] < trainer.global_step]
    for number, checkpoint in enumerate(checkpoints[::every]):
        resumed = tmp_path / f"resumed{number}"
        resumed.mkdir()
        shutil.copy(whole / "metrics.csv", resumed / "before.csv")
        if (whole / "best.ckpt").exists():
            shutil.copy(whole / "best.ckpt", resumed)
        found = end_of(fit(resumed, checkpoint, **CASES[case]), resumed)
        different = [name for name in expected if not equal(expected[name], found[name])]
        assert not different, f"{case}, resumed from {checkpoint.name}"
    print(f"{case}: {len(checkpoints[::every])} resumed fits")
    return len(checkpoints[::every])


@pytest.mark.parametrize("case", QUICK)
def test_a_resumed_fit_ends_as_one_that_did_not_stop(case: str, tmp_path: Path) -> None:
    assert check_case(case, tmp_path, QUICK[case]) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_fit_resumes_from_every_checkpoint(case: str, tmp_path: Path) -> None:
    assert check_case(case, tmp_path, 1) >= 6


class SendAt(Callback):
    """Sends a signal to this process in the given call of a hook."""

    def __init__(self, hook: str, call: int, number: int) -> None:
        self.calls, self.call, self.number = 0, call, number
        setattr(self, hook, self._called)

    def _called(self, *args: Any, **kwargs: Any) -> None:
        self.calls += 1
        if self.calls == self.call:
            os.kill(os.getpid(), self.number)


PHASES = {  # the call of a hook, and the step whose state is saved
    "setup": ("on_fit_start", 1, None),
    "first step": ("on_before_backward", 1, 1),
    "step": ("on_before_optimizer_step", 8, 8),
    "last step of an epoch": ("on_train_batch_start", 6, 6),
    "validation": ("on_validation_batch_start", 2, 6),
    "writing a checkpoint": ("on_save_checkpoint", 4, 4),
    "end of an epoch": ("on_train_epoch_end", 2, 12),
    "end": ("on_train_epoch_end", 3, 18),
}
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
PAIRS = list(itertools.product(PHASES, SIGNALS))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("uninterrupted")
    return end_of(fit(directory, keep=False), directory)


@pytest.mark.parametrize(
    ("phase", "number"),
    [pytest.param(*pair, marks=[] if i % 4 == 0 else pytest.mark.slow) for i, pair in enumerate(PAIRS)],
)
def test_a_signal_saves_the_step_and_the_fit_resumes(
    phase: str, number: signal.Signals, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    hook, call, step = PHASES[phase]
    with pytest.raises(Interrupted) as stop, handled(end_now, *SIGNALS):
        fit(tmp_path, callbacks=lambda: [SendAt(hook, call, number)], keep=False)
    assert stop.value.code == 128 + number
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if step is None:
        assert not (tmp_path / "last.ckpt").exists()
        return
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == step
    if step < 18:
        (tmp_path / "metrics.csv").rename(tmp_path / "before.csv")
        found = end_of(fit(tmp_path, tmp_path / "last.ckpt", keep=False), tmp_path)
        assert [name for name in found if not equal(found[name], uninterrupted[name])] == []


class StopAt(Callback):
    """Ends a fit after the given batch, as `max_time` does."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.fit_loop.total_batch_idx + 1 == self.batch


def test_a_fit_that_ended_within_an_epoch_goes_on_there(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    fit(tmp_path, callbacks=lambda: [StopAt(8)], keep=False)
    last = tmp_path / "last.ckpt"
    assert read_checkpoint(last)["global_step"] == 8
    (tmp_path / "metrics.csv").rename(tmp_path / "before.csv")
    found = end_of(fit(tmp_path, last, keep=False), tmp_path)
    different = [name for name in found if not equal(found[name], uninterrupted[name])]
    assert set(different) <= {"best"}  # a fit that ends early validates once more


def test_a_fit_does_not_end_between_batches_whose_gradients_are_summed(tmp_path: Path) -> None:
    fit(tmp_path, callbacks=lambda: [StopAt(9)], keep=False, accumulate_grad_batches=2)
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint["global_step"] == 5
    assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 10


def test_the_validation_of_a_fit_that_ended_within_an_epoch_is_not_in_the_resumed_one(tmp_path: Path) -> None:
    def run(folder: Path, step: int, ckpt_path: Path | None = None) -> dict[str, Any]:
        def callbacks() -> list[Callback]:
            return [EarlyStopping("val/accuracy", mode="max", patience=2), StopAt(step)]

        options: dict[str, Any] = {"keep": False, "max_epochs": 9, "log_every_n_steps": 4, "val_check_interval": 4}
        optimizer = partial(SGD, lr=0.0)  # so every validation after the first one is without improvement
        return end_of(fit(folder, ckpt_path, callbacks, optimizer=optimizer, **options), folder)

    expected = run(tmp_path / "whole", -1)
    assert expected["step"] == (16, 3)
    stopped = tmp_path / "stopped"
    assert run(stopped, 9)["step"] == (9, 2)
    (stopped / "metrics.csv").rename(stopped / "before.csv")
    found = run(stopped, -1, stopped / "last.ckpt")
    assert [name for name in found if not equal(found[name], expected[name])] == []


def test_a_plain_trainer_resumes_from_a_plain_checkpoint(tmp_path: Path) -> None:
    def train(*callbacks: Callback, ckpt_path: Path | None = None) -> dict[str, torch.Tensor]:
        seed_everything(0, verbose=False)
        data = VisionDataModule(partial(Shapes, count=24, size=32), image_size=32, batch_size=4)
        model = ClassificationTask(data.spec, Backbone("test_resnet", pretrained=False))
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = Trainer(accelerator="cpu", max_epochs=2, callbacks=[*callbacks], default_root_dir=tmp_path, **quiet)
        trainer.fit(model, data, ckpt_path=ckpt_path)
        return model.state_dict()

    expected = train(ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1))
    for step in (4, 8):
        assert equal(train(ckpt_path=tmp_path / f"step={step}.ckpt"), expected)


def kill_after(seconds: float, function: Callable[[], Any], written: Path | None = None) -> bool:
    """Runs a function in a process that is killed after some time, counted from when it has written a file.

    Returns whether it was still running.
    """
    before = written.stat().st_mtime_ns if written else 0
    if (child := os.fork()) == 0:
        try:
            with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                function()
        finally:
            os._exit(0)
    while written and written.stat().st_mtime_ns == before:
        time.sleep(0.001)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("task", TASKS)
def test_a_fit_that_was_killed_twice_resumes(task: str, workers: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"task": task, "workers": workers, "keep": False}
    options |= {"dataset": SCENES} if task == "detection" else {}
    started = time.monotonic()
    expected = end_of(fit(tmp_path / "whole", **options), tmp_path / "whole")
    duration, rng, kills = time.monotonic() - started, random.Random(0), 0
    for number in range(20):
        directory = tmp_path / str(number)
        last = directory / "last.ckpt"
        for _ in range(2):
            resumed, started = last if last.is_file() else None, time.monotonic()
            killed = kill_after(rng.random() * duration, partial(fit, directory, resumed, **options))
            kills += killed
            if not (killed or resumed):  # the first fit of a process takes longer
                duration = time.monotonic() - started
        if last.is_file() and read_checkpoint(last)["global_step"] == 18:
            continue  # killed at the very end
        found = end_of(fit(directory, last if last.is_file() else None, **options), directory)
        different = [name for name in expected if name != "rows" and not equal(expected[name], found[name])]
        assert not different, f"trial {number}"
    assert kills >= 20


@pytest.mark.parametrize("trials", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_a_kill_while_a_checkpoint_is_written_leaves_the_old_one(trials: int, tmp_path: Path) -> None:
    path, rng = tmp_path / "last.ckpt", random.Random(0)
    spec = {"image_size": 32, "resize": "stretch"}
    content = {"state_dict": {"a": torch.zeros(500_000)}, "hyper_parameters": {}, VERSION_KEY: {"spec": spec}}

    def write() -> None:
        for number in itertools.count(1):
            content["state_dict"]["a"].fill_(number)
            write_checkpoint(path, content)

    write_checkpoint(path, content)
    for _ in range(trials):
        assert kill_after(0.05 * rng.random(), write, path)
        values = read_checkpoint(path)["state_dict"]["a"]
        assert (values == values[0]).all()
    assert values[0] > 0
    sweep(tmp_path, "last.ckpt")
    assert [*tmp_path.iterdir()] == [path]
