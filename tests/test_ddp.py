"""Two gloo processes do what one does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy
from torch.optim import SGD

from visiontasks.callbacks import ClosedFormStart, FreezeBackbone
from visiontasks.data import Scenes, Shapes, VisionDataModule
from visiontasks.models import Backbone, SMPHead
from visiontasks.tasks import ClassificationTask, DetectionTask, MultilabelTask, SegmentationTask
from visiontasks.tasks.checkpoint import read_checkpoint


class SaveState(Callback):
    """Leaves each rank's weights, as they are at the end, in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"rank{trainer.global_rank}.pt")


def strategy(processes: int, **options: Any) -> Any:
    options = {"start_method": "fork", "process_group_backend": "gloo", **options}
    return DDPStrategy(**options) if processes > 1 else "auto"


def make_trainer(tmp_path: Path, processes: int, callbacks: list[Callback], epochs: int = 1, **options: Any) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=processes,
        strategy=strategy(processes, **options),
        callbacks=callbacks,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def make(batch_size: int = 4) -> tuple[ClassificationTask, VisionDataModule]:
    seed_everything(0)
    data = VisionDataModule(partial(Shapes, count=68, size=32), image_size=32, batch_size=batch_size)
    assert len(data.dataset("test")) == 17
    task = ClassificationTask(
        data.spec, Backbone("test_resnet", pretrained=False, batch_norm="train"), optimizer=partial(SGD, lr=0.05)
    )
    return task, data


@pytest.mark.parametrize("batch_size", [1, 4, 8])  # 9 + 8, with uneven last batches
def test_metrics_on_17_images_are_those_of_one_process(tmp_path: Path, batch_size: int) -> None:
    results = []
    for processes in (1, 2):
        task, data = make(batch_size)
        results += make_trainer(tmp_path, processes, []).test(task, data, verbose=False)
    one, two = results
    assert one.keys() == two.keys()
    assert [two[name] for name in one] == pytest.approx([one[name] for name in one], abs=1e-6)


def test_the_mean_iou_of_17_images_is_that_of_one_process(tmp_path: Path) -> None:
    results = []
    for processes in (1, 2):
        seed_everything(0)
        data = VisionDataModule(partial(Shapes, count=68, size=32), image_size=32, batch_size=4)
        head = partial(SMPHead, width=0.125)
        task = SegmentationTask(data.spec, Backbone("test_resnet", pretrained=False), head)
        results += make_trainer(tmp_path, processes, []).test(task, data, verbose=False)
    one, two = ({name: value for name, value in result.items() if name != "test/loss"} for result in results)
    assert one == two
    assert "test/miou" in one


def test_two_processes_count_the_pixels_of_one(tmp_path: Path) -> None:
    counted = []
    for processes in (1, 2):
        seed_everything(0)
        data = VisionDataModule(partial(Shapes, count=17, size=32), image_size=32, batch_size=4)
        head = partial(SMPHead, width=0.125)
        task = SegmentationTask(data.spec, Backbone("test_resnet", pretrained=False), head)
        (folder := tmp_path / str(processes)).mkdir()
        make_trainer(tmp_path, processes, [SaveState(folder)]).fit(task, data)
        states = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]
        names = ("shares", "frequencies", "trivial")
        counted += [[state[f"heads.mask.{name}"].tolist() for name in names] for state in states]
    assert counted[0] == counted[1] == counted[2]
    assert counted[0][0] != [1 / 5] * 5  # what is there before anything is counted


def test_the_figures_and_thresholds_of_labels_are_those_of_one_process(tmp_path: Path) -> None:
    figures, thresholds = [], []
    for processes in (1, 2):
        seed_everything(0)
        data = VisionDataModule(partial(Shapes, count=68, size=32), image_size=32, batch_size=4)  # 17 in val: 9 + 8
        task = MultilabelTask(data.spec, Backbone("cifar10_convnet", pretrained=False), optimizer=partial(SGD, lr=0.0))
        (folder := tmp_path / str(processes)).mkdir()
        trainer = make_trainer(tmp_path, processes, [SaveState(folder)])
        trainer.fit(task, data)
        figures.append({name: float(value) for name, value in trainer.callback_metrics.items() if "step" not in name})
        states = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]
        thresholds += [state["heads.labels.thresholds"] for state in states]
    one, two = figures
    assert {"train/map", "val/map", "val/f1", "val/micro_f1", "val/map_baseline"} < one.keys()
    assert two == pytest.approx(one, abs=1e-6)
    single, first, second = thresholds
    assert torch.equal(first, second)
    torch.testing.assert_close(first, single, atol=1e-6, rtol=0)
    assert (single != 0.5).all()


def test_replicas_hold_the_same_weights_after_closed_form_start_and_unfreezing(tmp_path: Path) -> None:
    task, data = make()
    before = {name: value.clone() for name, value in task.state_dict().items()}
    callbacks = [ClosedFormStart(), FreezeBackbone(1), SaveState(tmp_path)]
    make_trainer(tmp_path, 2, callbacks, epochs=2, find_unused_parameters=True).fit(task, data)
    one, other = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    parameters = [name for name, _ in task.named_parameters()]
    assert all(torch.equal(one[name], other[name]) for name in parameters)
    assert not any(torch.equal(one[name], before[name]) for name in parameters if "conv" in name)


def test_closed_form_start_is_that_of_one_process(tmp_path: Path) -> None:
    heads = []
    for processes in (1, 2):
        task, data = make()
        (folder := tmp_path / str(processes)).mkdir()
        callbacks = [ClosedFormStart(), FreezeBackbone(-1), SaveState(folder)]
        task.make_optimizer = partial(SGD, lr=0.0)
        make_trainer(tmp_path, processes, callbacks, find_unused_parameters=True).fit(task, data)
        heads.append(torch.load(folder / "rank0.pt", weights_only=True)["heads.label.classifier.weight"])
    np.testing.assert_allclose(heads[0], heads[1], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_closed_form_of_a_detector_is_that_of_one_process(tmp_path: Path) -> None:
    shortcuts = []
    for processes in (1, 2):
        seed_everything(0)
        dataset = partial(Scenes, count=17, size=64, objects="all", empty=0.1)
        data = VisionDataModule(dataset, image_size=32, batch_size=4, augment="none")
        backbone = Backbone("test_resnet", pretrained=False)
        task = DetectionTask(data.spec, backbone, optimizer=partial(SGD, lr=0.0))
        (folder := tmp_path / str(processes)).mkdir()
        callbacks = [ClosedFormStart(), FreezeBackbone(-1), SaveState(folder)]
        make_trainer(tmp_path, processes, callbacks, find_unused_parameters=True).fit(task, data)
        state = torch.load(folder / "rank0.pt", weights_only=True)
        shortcuts.append([value for name, value in sorted(state.items()) if "shortcuts" in name])
    assert any(part.any() for part in shortcuts[0])
    for one, other in zip(*shortcuts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_freezing_without_unused_parameters_is_refused(tmp_path: Path) -> None:
    task, data = make()
    with pytest.raises(Exception, match="ddp_find_unused_parameters_true"):
        make_trainer(tmp_path, 2, [FreezeBackbone(1)]).fit(task, data)


def test_two_processes_resume_within_an_epoch_as_if_they_had_not_stopped(tmp_path: Path) -> None:
    def fit(folder: str, *callbacks: Callback, ckpt_path: Path | None = None) -> tuple[Path, dict[str, float]]:
        directory = tmp_path / folder
        directory.mkdir(exist_ok=True)
        task, data = make()
        trainer = make_trainer(tmp_path, 2, [SaveState(directory), *callbacks], epochs=2)
        trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
        return directory, {name: float(value) for name, value in trainer.callback_metrics.items()}

    class SaveWithin(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
            if trainer.global_step == 12:
                trainer.save_checkpoint(tmp_path / "within.ckpt", weights_only=False)

    whole, figures = fit("whole", SaveWithin())
    assert read_checkpoint(tmp_path / "within.ckpt")["visiontasks"]["fit"]["batches per epoch"] == 9
    resumed, found = fit("resumed", ckpt_path=tmp_path / "within.ckpt")
    assert found == figures
    assert {"train/loss", "train/accuracy", "val/loss"} <= figures.keys()
    for rank in (0, 1):
        one, other = (torch.load(folder / f"rank{rank}.pt", weights_only=True) for folder in (whole, resumed))
        assert all(torch.equal(one[name], other[name]) for name in one)


FAULT = """
import os, signal, sys
from visiontasks.callbacks import Checkpoints
from visiontasks.cli import main
from visiontasks.core.errors import InputError
before = Checkpoints.on_train_batch_start
def fail(self, trainer, *args):
    before(self, trainer, *args)
    if trainer.global_rank == {rank} and trainer.global_step == 3:
        {fault}
Checkpoints.on_train_batch_start = fail
main()
"""


def run_with_fault(tmp_path: Path, rank: int, fault: str) -> tuple[subprocess.CompletedProcess, dict[str, Any]]:
    """Runs a fit of two processes, and a line of code in the 4th step of one; returns its end and its checkpoint."""
    config = tmp_path / "small.yaml"
    config.write_text("""
        model: {class_path: ClassificationTask, init_args: {backbone: {name: test_resnet, pretrained: false}}}
        data: {dataset: {class_path: Shapes, init_args: {count: 64, size: 32}}, image_size: 32, batch_size: 4}
        trainer: {accelerator: cpu, devices: 2, strategy: ddp, max_epochs: 2, logger: false, default_root_dir: runs}
    """)
    script = tmp_path / "script.py"
    script.write_text(FAULT.format(rank=rank, fault=fault))
    command = [sys.executable, str(script), "fit", "-c", str(config), "--save_every", "1"]
    started = time.monotonic()
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert time.monotonic() - started < 60
    (last,) = (tmp_path / "runs/small").glob("*/last.ckpt")
    return ended, read_checkpoint(last)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_one_process_ends_both(rank: int, number: signal.Signals, tmp_path: Path) -> None:
    ended, last = run_with_fault(tmp_path, rank, f"os.kill(os.getpid(), {int(number)})")
    if number == signal.SIGTERM:
        assert ended.returncode == 143
        assert "interrupted by SIGTERM" in ended.stderr
        assert last["global_step"] == 4
    else:
        assert ended.returncode == (-signal.SIGKILL if rank == 0 else 2)
        assert "another process of this run ended first" in ended.stderr
        assert last["global_step"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("error", ["InputError", "RuntimeError"])
def test_an_error_in_one_process_ends_both_with_its_reason(rank: int, error: str, tmp_path: Path) -> None:
    ended, last = run_with_fault(tmp_path, rank, f"raise {error}('the true reason')")
    assert ended.returncode == 2
    first, *others = (line for line in ended.stderr.splitlines() if line.startswith("error: "))
    assert "the true reason" in first
    assert all("another process of this run ended first; its message above" in line for line in others)
    assert "Traceback" not in ended.stderr
    assert last["global_step"] == 3
