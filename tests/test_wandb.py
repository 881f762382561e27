"""What goes to Weights & Biases, in its own form; nothing here reaches a server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger

from visiontasks.callbacks.wandb import (
    WandbLogger,
    finish_runs,
    log_boxes_and_masks,
    log_config,
    log_pictures,
    log_table,
    wandb_loggers,
)
from visiontasks.cli.runs import run_loggers

IMAGE = np.zeros((20, 20, 3), np.uint8)


class FakeRun(SimpleNamespace):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logged={}, finished=False, config=self)

    def log(self, values: dict[str, Any], **options: Any) -> None:
        self.logged |= values

    def update(self, values: dict[str, Any], allow_val_change: bool) -> None:
        self.logged |= values

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def run() -> FakeRun:
    return FakeRun()


@pytest.fixture
def loggers(run: FakeRun, tmp_path: Path) -> list:
    return [CSVLogger(str(tmp_path)), LightningWandbLogger(experiment=run)]


def test_only_loggers_of_weights_and_biases_get_anything(run: FakeRun, loggers: list) -> None:
    assert wandb_loggers(loggers) == loggers[1:]
    log_config(loggers, {"batch_size": 8})
    log_pictures(loggers, "batch", [IMAGE])
    log_table(loggers, "per_class", ["class", "iou"], [("cat", 0.5)])
    finish_runs(loggers)
    assert run.logged["batch_size"] == 8
    assert isinstance(run.logged["batch"][0], wandb.Image)
    assert run.logged["per_class"].data == [["cat", 0.5]]
    assert run.finished


def test_a_run_is_written_below_the_working_directory_wherever_the_service_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, logger = run_loggers(None, Path("runs/config/time"))
    assert Path(logger.save_dir) == tmp_path / "runs/config/time"


def test_boxes_and_masks_can_be_switched_on_and_off(run: FakeRun, loggers: list) -> None:
    box = {"box": np.array([1, 2, 11, 12], np.float32), "label": 1, "caption": "dog 0.25"}
    layers = {"target": {"classes": IMAGE[..., 0]}, "prediction": {"boxes": [box, box], "classes": IMAGE[..., 0] + 1}}
    rows = [(IMAGE, "cat / dog", layers), (IMAGE, "", {"target": {"boxes": []}})]
    log_boxes_and_masks(loggers, "val/panels", rows, ["cat", "dog"], ["ground", "square"])
    image, empty = run.logged["val/panels"]
    assert set(image._masks) == {"target", "prediction"}
    assert set(image._boxes) == {"prediction"}
    found = image._boxes["prediction"]._val
    assert len(found) == 2
    assert found[0]["position"] == {"minX": 1, "minY": 2, "maxX": 11, "maxY": 12}
    assert (found[0]["class_id"], found[0]["box_caption"]) == (1, "dog 0.25")
    assert (image._caption, empty._caption) == ("cat / dog", None)


def test_a_run_goes_on_offline_where_no_server_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def begin(settings: wandb.Settings, **options: Any) -> FakeRun:
        modes.append(settings.mode)
        if settings.mode != "offline":
            raise wandb.errors.CommError("no answer")
        return FakeRun()

    monkeypatch.setattr(wandb, "init", begin)
    monkeypatch.setattr(wandb, "run", None)
    logger = WandbLogger(save_dir=str(tmp_path), offline=False)
    assert isinstance(logger.experiment, FakeRun)
    assert (len(modes), modes[1]) == (2, "offline")
