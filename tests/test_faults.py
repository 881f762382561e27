"""What goes wrong in a fit is named in one line, and the last good checkpoint stays."""

from __future__ import annotations

import io
import re
import resource
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.optim import SGD

from visiontasks.callbacks import Checkpoints, FiniteCheck
from visiontasks.cli import main
from visiontasks.cli.runs import MetricsLogger
from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv, sweep
from visiontasks.data import Shapes, VisionDataModule
from visiontasks.models import Backbone
from visiontasks.tasks import ClassificationTask
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint, write_checkpoint


def fit(directory: Path, *callbacks: Callback, lr: float = 1e-3, every: int = 1) -> None:
    seed_everything(0, verbose=False)
    data = VisionDataModule(partial(Shapes, count=24, size=32), image_size=32, batch_size=4, num_workers=0)
    task = ClassificationTask(data.spec, Backbone("test_resnet", pretrained=False), optimizer=partial(SGD, lr=lr))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "logger": False}
    kept = [FiniteCheck(), Checkpoints(str(directory), every)]
    Trainer(max_epochs=2, accelerator="cpu", callbacks=[*callbacks, *kept], **quiet).fit(task, data, weights_only=True)


class Break(Callback):
    """Sets one value of a tensor in the 8th call of a hook, so in the second epoch."""

    def __init__(self, hook: str, tensor: Callable[[Any], torch.Tensor], value: float, call: int = 8) -> None:
        self.calls, self.call, self.tensor, self.value = 0, call, tensor, value
        setattr(self, hook, self._called)

    @torch.no_grad()
    def _called(self, trainer: Trainer, task: Any, *args: Any) -> None:
        self.calls += 1
        if self.calls == self.call:
            tensor = self.tensor(task)
            tensor[(0,) * tensor.ndim] = self.value


def weight(task: Any) -> torch.Tensor:
    return task.backbone.net.get_parameter("conv1.0.weight")


def bias(task: Any) -> torch.Tensor:
    return task.heads["label"].classifier.bias


def statistics(task: Any) -> torch.Tensor:
    return next(module for module in task.modules() if isinstance(module, torch.nn.BatchNorm2d)).running_var


NOT_FINITE = {
    "weight": (Break("on_train_batch_start", weight, torch.nan), "the output of backbone.net.* is not finite"),
    "infinite weight": (Break("on_train_batch_start", weight, torch.inf), "the output of backbone.net.* is not finite"),
    "loss": (Break("on_train_batch_start", bias, torch.nan), "the output of heads.label.* is not finite"),
    "infinite loss": (Break("on_train_batch_start", bias, torch.inf), "the output of heads.label.* is not finite"),
    "gradient": (Break("on_after_backward", lambda task: weight(task).grad, torch.nan), "the gradient of backbone"),
    "infinite gradient": (Break("on_after_backward", lambda task: bias(task).grad, torch.inf), "the gradient of heads"),
    "statistics": (Break("on_after_backward", statistics, torch.nan), ".*running_var has values that are not finite"),
    "validation": (Break("on_validation_batch_start", bias, torch.nan, call=3), "val/loss is nan"),
}


@pytest.mark.parametrize("case", NOT_FINITE)
def test_a_fit_ends_where_its_numbers_are_not_finite(case: str, tmp_path: Path) -> None:
    fault, message = NOT_FINITE[case]
    fault.calls, within = 0, case == "validation"
    last = tmp_path / "last.ckpt"
    found = (
        rf"Training diverged at step {12 if within else 8} \(epoch 2\): {message}.* The last good checkpoint is {last}"
    )
    with pytest.raises(InputError, match=rf"{found}. Try a lower --model.optimizer.lr") as error:
        fit(tmp_path, fault, every=1000 if within else 1)
    if case == "weight":
        assert re.search(r"the batch holds (train/0-\d+, ){2}train/0-\d+ and 1 more", str(error.value))
    assert read_checkpoint(last)["global_step"] == (6 if within else 7)
    for path in (last, tmp_path / "best.ckpt"):
        state = read_checkpoint(path)["state_dict"].values()
        assert all(tensor.isfinite().all() for tensor in state if tensor.is_floating_point())


def test_a_rate_that_is_far_too_high_ends_the_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Training diverged at step"):
        fit(tmp_path, lr=1e30)


def test_a_missing_folder_is_created_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/new: cannot be written \(Not a directory\)"):
        fit(tmp_path / "file/new")
    fit(tmp_path / "a/b")
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.fixture
def content() -> dict[str, Any]:
    spec = {"image_size": 32, "resize": "stretch"}
    return {"state_dict": {"a": torch.ones(300_000)}, "hyper_parameters": {}, VERSION_KEY: {"spec": spec}}


def full_disk(path: Path) -> Any:
    """Writes fail as on a full disk, after 500,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def little_room(path: Path) -> Any:
    class Usage:
        free = 1_000_000

    return Usage()


@pytest.mark.parametrize("fault", ["full", "announced", "missing folder", "folder is a file", "name is a folder"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    fault: str, content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run" / "last.ckpt"
    path.parent.mkdir()
    write_checkpoint(path, content)
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    message = {
        "full": r"last.ckpt: cannot be written \(File too large\)",
        "announced": r"last.ckpt: needs 1 MB, and the disk has 1 MB. Make room.",
        "missing folder": r"last.ckpt: cannot be written \(No such file or directory\)",
        "folder is a file": r"last.ckpt: cannot be written \(Not a directory\)",
        "name is a folder": r"last.ckpt: cannot be written \(Is a directory\)",
    }[fault]
    if fault == "announced":
        monkeypatch.setattr(shutil, "disk_usage", little_room)
    elif fault != "full":
        shutil.rmtree(path.parent)
    if fault == "folder is a file":
        path.parent.touch()
    elif fault == "name is a folder":
        path.mkdir(parents=True)
    try:
        if fault == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limit[1]))
        with pytest.raises(InputError, match=message):
            write_checkpoint(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    if fault in ("full", "announced"):
        assert path.read_bytes() == before
        assert [*path.parent.iterdir()] == [path]


def test_the_end_of_a_loader_during_a_write_is_named(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.BytesIO):
        def write(self, part: Any) -> int:
            raise RuntimeError("DataLoader worker (pid 3) is killed by signal")  # by torch's handler of SIGCHLD

    monkeypatch.setattr(Path, "open", lambda *_: Interrupted())
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        write_checkpoint(tmp_path / "last.ckpt", content)
    assert not any(tmp_path.iterdir())


def test_metrics_that_cannot_be_written_leave_the_old_ones(tmp_path: Path) -> None:
    logger, limit = MetricsLogger(str(tmp_path), name="", version=""), resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "metrics.csv"
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    logger.log_metrics({"a": 2.0, "b": 3.0}, 1)  # a new column, for which the header is written again
    before = path.read_text()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
        with pytest.raises(InputError, match=r"metrics.csv: cannot be written \(File too large\)"):
            logger.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_text() == before
    assert [*tmp_path.iterdir()] == [path]
    logger.log_metrics({"b": 4.0}, 2)
    logger.save()
    assert [row["step"] for row in read_csv(path)] == ["0", "1", "2"]


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_and_a_cut_are_noticed(place: float, content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, content)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[int(place * len(good))] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(InputError, match=r"last.ckpt: broken checkpoint, the checksum of .* is wrong"):
        read_checkpoint(path)
    path.write_bytes(good[: int(place * len(good))])
    with pytest.raises(InputError, match=r"last.ckpt: broken or truncated checkpoint, \d+ bytes"):
        read_checkpoint(path)
    path.write_bytes(good)
    read_checkpoint(path)


CONFIG = """
model: {class_path: ClassificationTask, init_args: {backbone: {name: test_resnet, pretrained: false}}}
data: {dataset: {class_path: Shapes, init_args: {count: 8, size: 32}}, image_size: 32, batch_size: 4}
trainer: {accelerator: cpu, max_epochs: 2, logger: false, enable_progress_bar: false, enable_model_summary: false}
report: false
"""


def limit_files(trainer: Trainer, size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


PLACES: dict[str, tuple[str, Callable[[Any], None], str]] = {  # hook, fault, message
    "config": ("setup", lambda _: limit_files(_, 100), r"config.yaml: cannot be written \(File too large\)"),
    "metrics": (
        "on_validation_start",
        lambda _: limit_files(_, 50),
        r"metrics.csv: cannot be written \(File too large\)",
    ),
    "panels": ("on_train_end", lambda _: limit_files(_, 3000), r"val_panels.png: cannot be written \(File too large\)"),
    "folder": ("on_train_end", lambda trainer: shutil.rmtree(trainer.default_root_dir), "No such file or directory"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_run_directory_that_cannot_be_written_is_named(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, fault, message = PLACES[place]
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(CONFIG)
    before, limit = getattr(FiniteCheck, hook), resource.getrlimit(resource.RLIMIT_FSIZE)

    def fail(self: FiniteCheck, trainer: Trainer, *args: Any, **options: Any) -> None:
        fault(trainer)
        before(self, trainer, *args, **options)

    monkeypatch.setattr(FiniteCheck, hook, fail)
    try:
        with pytest.raises(SystemExit, match="2"):
            main(["fit", "-c", "small.yaml"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert re.search(rf"runs/small/[\d-]+.*{message}", line)
    if place == "panels":
        read_checkpoint(next(Path("runs/small").glob("*/last.ckpt")))


@pytest.mark.parametrize("root", ["file", "file/folder", "/proc/runs"])
def test_a_place_without_room_for_runs_is_named(root: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config, place = tmp_path / "small.yaml", tmp_path / root
    config.write_text(CONFIG)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "-c", str(config), "--trainer.default_root_dir", str(place)])
    assert re.search(rf"error: {place}/small/[\d-]+: the run directory cannot be created \(\w", capsys.readouterr().err)


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / ".0123abcd-last.ckpt"
    others = [tmp_path / name for name in (".0123abcd-mine.ckpt", "0123abcd-last.ckpt", ".abc-last.ckpt", "last.ckpt")]
    for path in (left, *others):
        path.touch()
    sweep(tmp_path, "last.ckpt", "best.ckpt")
    assert not left.exists()
    assert all(path.exists() for path in others)
