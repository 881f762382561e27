"""What goes to Weights & Biases, in its own form; nothing here reaches a server."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
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
    default_logger,
    finish_run,
    log_boxes_and_masks,
    log_config,
    log_pictures,
    log_table,
    wandb_loggers,
)
from visiontasks.cli.runs import run_loggers
from visiontasks.core.errors import InputError
from visiontasks.core.network import answers

IMAGE = np.zeros((20, 20, 3), np.uint8)


class FakeRun(SimpleNamespace):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logged={}, finished=None, config=self)

    def log(self, values: dict[str, Any], **options: Any) -> None:
        self.logged |= values

    def update(self, values: dict[str, Any], allow_val_change: bool) -> None:
        self.logged |= values

    def finish(self, exit_code: int) -> None:
        self.finished = exit_code


@pytest.fixture
def run() -> FakeRun:
    return FakeRun()


@pytest.fixture
def loggers(run: FakeRun, tmp_path: Path) -> list:
    return [CSVLogger(str(tmp_path)), LightningWandbLogger(experiment=run)]


def test_only_loggers_of_weights_and_biases_get_anything(
    run: FakeRun, loggers: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "run", run)
    assert wandb_loggers(loggers) == loggers[1:]
    log_config(loggers, {"batch_size": 8})
    log_pictures(loggers, "batch", [IMAGE])
    log_table(loggers, "per_class", ["class", "iou"], [("cat", 0.5)])
    assert run.logged["batch_size"] == 8
    assert isinstance(run.logged["batch"][0], wandb.Image)
    assert run.logged["per_class"].data == [["cat", 0.5]]
    finish_run(loggers[:1], None)
    assert run.finished is None
    finish_run(loggers, None)
    assert run.finished == 0
    finish_run(loggers, KeyboardInterrupt())
    assert run.finished == 1


def test_a_run_is_written_below_the_working_directory_wherever_the_service_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/config/time").mkdir(parents=True)
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


def begin_with(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Runs that begin nowhere; returns the options of each, with its settings and the command line that it sees."""
    begun = []

    def begin(settings: wandb.Settings, **options: Any) -> FakeRun:
        begun.append({**options, "settings": settings, "args": list(sys.argv)})
        return FakeRun()

    monkeypatch.setattr(wandb, "init", begin)
    monkeypatch.setattr(wandb, "run", None)
    return begun


def test_the_variables_of_wandb_apply_to_what_the_config_leaves_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin_with(monkeypatch)
    _ = default_logger(tmp_path / "runs/config/time").experiment
    names = ("project", "name", "dir", "id", "resume")
    directory = tmp_path / "runs/config/time"
    assert [begun[0][name] for name in names] == ["visiontasks", "config/time", str(directory), None, "allow"]
    (tmp_path / "elsewhere").mkdir()
    variables = {"PROJECT": "mine", "NAME": "first", "DIR": str(tmp_path / "elsewhere"), "RESUME": "must"}
    variables |= {"RUN_ID": "abc", "ENTITY": "us", "RUN_GROUP": "all", "TAGS": "a,b", "INIT_TIMEOUT": "3"}
    for name, value in variables.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    _ = default_logger(tmp_path / "runs/config/time").experiment
    assert [begun[1][name] for name in names] == ["mine", "first", str(tmp_path / "elsewhere"), None, "must"]
    assert not {"entity", "tags", "notes", "job_type"} & begun[1].keys()  # W&B itself takes these from its variables
    assert begun[1]["group"] is None
    assert [one["settings"].finish_timeout for one in begun] == [15, 15]
    assert [one["settings"].init_timeout == 10 for one in begun] == [True, False]
    _ = WandbLogger(project="named", name="named", save_dir=str(tmp_path)).experiment
    assert [begun[2][name] for name in names[:3]] == ["named", "named", str(tmp_path)]


@pytest.mark.parametrize("listens", [False, True], ids=["refuses", "never answers"])
def test_a_server_that_does_not_answer_costs_little(
    listens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: Any
) -> None:
    begun = begin_with(monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(answers, "__defaults__", (0.3,))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        if listens:
            server.listen()
        start = time.monotonic()
        assert isinstance(WandbLogger(save_dir=str(tmp_path)).experiment, FakeRun)
        assert time.monotonic() - start < 2
    assert [one["settings"].mode for one in begun] == ["offline"]
    assert "this run stays offline. `wandb sync` uploads it later" in str(recwarn[-1].message)


def test_a_server_that_answers_anything_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = begin_with(monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "online")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        _ = WandbLogger(save_dir=str(tmp_path)).experiment
        thread.join()
    assert begun[0]["settings"].mode != "offline"


@pytest.mark.parametrize(("level", "quiet"), [(logging.WARNING, True), (logging.INFO, False)])
def test_wandb_says_no_more_than_lightning(
    level: int, quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin_with(monkeypatch)
    lightning = logging.getLogger("lightning.pytorch")
    monkeypatch.setattr(lightning, "level", level)
    lightning.manager._clear_cache()
    monkeypatch.delenv("WANDB_SHOW_INFO", raising=False)
    _ = WandbLogger(save_dir=str(tmp_path)).experiment
    assert begun[0]["settings"].quiet is quiet
    assert os.environ["WANDB_SHOW_INFO"] == str(not quiet)
    assert "anonymous" not in begun[0]
    monkeypatch.setenv("WANDB_QUIET", "false")
    _ = WandbLogger(save_dir=str(tmp_path)).experiment
    assert begun[1]["settings"].quiet is False


def test_wandb_does_not_see_secrets_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = begin_with(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["visiontasks", "fit", "--data.dataset.token", "canary"])
    _ = WandbLogger(save_dir=str(tmp_path)).experiment
    assert begun[0]["args"] == ["visiontasks", "fit", "--data.dataset.token", "REDACTED"]
    assert sys.argv[-1] == "canary"


def test_a_mistake_in_the_use_of_wandb_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(**options: Any) -> None:
        raise wandb.errors.UsageError("no API key configured")

    monkeypatch.setattr(wandb, "init", begin)
    monkeypatch.setattr(wandb, "run", None)
    with pytest.raises(InputError, match=r"W&B: no API key configured\. Run `wandb login`"):
        _ = WandbLogger(save_dir=str(tmp_path)).experiment


@pytest.mark.parametrize("mode", ["of", ""])
def test_a_wrong_mode_is_named_before_anything_starts(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(InputError, match=f"WANDB_MODE: '{mode}' is not one of online, offline, .* Change or unset it"):
        WandbLogger()


def test_a_run_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    found = []
    for _ in range(2):
        _, logger = run_loggers(True, tmp_path)
        found.append(logger.experiment.id)
        finish_run([logger], None)
    assert found == [(tmp_path / "wandb_id.txt").read_text()] * 2
    monkeypatch.setenv("WANDB_RUN_ID", "chosen")
    _, logger = run_loggers(True, tmp_path)
    assert logger.experiment.id == "chosen"
    finish_run([logger], None)
