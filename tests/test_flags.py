"""Settings that would break a run or do nothing, and odd files in the place of a config, are one line of error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from visiontasks.cli import main
from visiontasks.cli.flags import LOWEST, REFUSED, check_flags
from visiontasks.cli.parser import load_yaml
from visiontasks.core.bounded import LONGEST
from visiontasks.core.errors import InputError

CONFIG = """
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false, logger: false}
report: false
model: {class_path: ClassificationTask, init_args: {backbone: {name: test_resnet, pretrained: false}}}
data: {dataset: {class_path: Shapes, init_args: {count: 16, size: 32}}, image_size: 32, batch_size: 8}
"""


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs a fit that must end with one line of error, which it returns, and leave no report of a bug."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(CONFIG)

    def run(*args: str) -> str:
        start = time.monotonic()
        with pytest.raises(SystemExit) as stopped:
            main(["fit", "-c", "base.yaml", *args])
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert stopped.value.code == 2, message
        assert message.startswith("error: ")
        assert time.monotonic() - start < 30
        assert not list(tmp_path.glob("visiontasks-error-*"))
        return message

    return run


TRAINER: dict[str, Any] = {"max_epochs": 1, "callbacks": None}
SETTINGS: list[tuple[str, dict[str, Any], str]] = [  # command, changes, and the begin of the message
    ("fit", {"limit_train_batches": 0}, "trainer.limit_train_batches: 0: there is nothing to do"),
    ("probe", {"limit_train_batches": 0.0}, "trainer.limit_train_batches: 0: there is nothing to do"),
    ("fit", {"limit_val_batches": 0, "early_stopping": 2}, "early_stopping: needs a validation"),
    ("validate", {"limit_val_batches": 0}, "trainer.limit_val_batches: 0: there is nothing to do"),
    ("test", {"limit_test_batches": 0}, "trainer.limit_test_batches: 0: there is nothing to do"),
    ("fit", {"max_time": "00:00:00:00"}, "trainer.max_time: 00:00:00:00: there is nothing to do"),
    ("fit", {"val_check_interval": 0}, "trainer.val_check_interval: 0 must be more than 0"),
    ("fit", {"max_epochs": 0}, "trainer.max_epochs: 0: there is nothing to do"),
    ("fit", {"max_steps": 0}, "trainer.max_steps: 0: there is nothing to do"),
    *(("fit", {name: lowest - 1}, f"trainer.{name}: {lowest - 1} must be") for name, lowest in LOWEST.items()),
    *(
        ("fit", {"callbacks": [{"class_path": f"a.b.{name}"}]}, f"trainer.callbacks: {name} does not")
        for name in REFUSED
    ),
    ("fit", {"callbacks": {"class_path": "Timer"}}, "trainer.callbacks: Timer does not"),
    ("fit", {"early_stopping": 0}, "early_stopping: 0 must be 1 or more"),
    ("fit", {"seed_everything": -1}, "seed_everything: -1 must be 0 or more"),
    ("fit", {"seed_everything": 2**32}, "seed_everything: 4294967296 must be"),
]


@pytest.mark.parametrize(("command", "changes", "message"), SETTINGS)
def test_settings_that_cannot_work_are_refused(command: str, changes: dict[str, Any], message: str) -> None:
    config = {"trainer": TRAINER | changes, "seed_everything": 0, "early_stopping": None}
    with pytest.raises(InputError, match=f"^{message}"):
        check_flags(command, config | {name: changes[name] for name in config.keys() & changes.keys()})


FLAGS = {  # and a part of the message
    "--trainer.limit_val_batches 0 --early_stopping 2": "early_stopping: needs a validation",
    "--trainer.callbacks+=StochasticWeightAveraging --trainer.callbacks.swa_lrs 1": "Use EMAWeightAveraging",
    "--trainer.accelerator gpu": "gpu",
    "--trainer.devices abc": "trainer: `devices`",
    "--trainer.callbacks+=EMAWeightAveraging --trainer.callbacks.decay 2": "Invalid decay value 2.0",
    "--trainer.callbacks+=FreezeBackbone --trainer.callbacks.epochs -3": "FreezeBackbone: epochs=-3 must be 0 or more",
    '--data.augment [{"class_path":"RandomCrop","init_args":{"height":64,"width":64}}]': "augment: Crop size (height",
    '--data.augment [{"class_path":"Normalize"}]': "augment: images become float32, not uint8. Remove Normalize",
    "--trainer.val_check_interval 1000": "trainer: `val_check_interval` (1000) must be less",
    "--trainer.strategy nonsense": "trainer: You selected an invalid strategy",
    "--trainer.precision 8": "trainer.precision",
    "--trainer.barebones true": "trainer.barebones: true would leave out metrics and checkpoints",
    "--trainer.logger TensorBoardLogger --trainer.logger.save_dir x": "TensorBoardLogger: Neither `tensorboard`",
    "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor nothing": "Early stopping conditioned on metric",
    "--seed_everything -1": "seed_everything: -1 must be 0 or more",
    "--data.num_workers 100000": "data.num_workers: 100000 loader processes on ",
    "--data.num_workers -1": "data.num_workers: -1 must be 0 or more",
    "--data.batch_size 1": "batch norm cannot learn from a batch of one image",
    "--data.image_size 1000000000": "images have at most",
    "--data.train_size 1000000000": "images have at most",
    "--model.optimizer.lr -1": "model.optimizer: Invalid learning rate",
    "--model.optimizer torch.optim.SGD --model.optimizer.lr .nan": "model.optimizer: the learning rate must be finite",
    "--model.optimizer torch.optim.SGD --model.optimizer.momentum -1": "model.optimizer: Invalid momentum",
    "--model.schedule Exponential --model.schedule.gamma -1": "Exponential: gamma=-1.0 must be",
    "--model.backbone_lr_ratio -1": "backbone_lr_ratio=-1.0 must be 0 or more",
    "-c http://127.0.0.1:9/x.yaml": "no such file",
    "-c s3://bucket/x.yaml": "no such file",
    "--ckpt_path http://127.0.0.1:9/x.ckpt": "addresses are not fetched",
    "--model.weights http://127.0.0.1:9/x.ckpt": "addresses are not fetched",
    "--model.backbone.pretrained http://127.0.0.1:9/x.pth": "no such file",
}


@pytest.mark.parametrize("flags", FLAGS)
def test_arguments_that_cannot_work_are_refused(flags: str, fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection"))
    assert FLAGS[flags] in fit(*flags.split(" "))


def test_a_command_without_arguments_asks_for_a_config(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["fit"])
    assert "error: fit needs a config: give -c CONFIG" in capsys.readouterr().err


def test_a_damaged_state_of_the_training_is_named(fit: Any, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(CONFIG)
    main(["fit", "-c", "base.yaml"])
    (path,) = tmp_path.rglob("last.ckpt")
    content = torch.load(path, weights_only=True)
    state = {"state": 3, "param_groups": [{}]}
    for damage in ({"loops": {}}, {"optimizer_states": [state]}, {"pytorch-lightning_version": "abc"}):
        torch.save({**content, **damage}, path)
        message = fit("--ckpt_path", str(path), "--trainer.max_epochs", "2")
        assert "state" in message
        assert "--model.weights" in message


def test_words_that_yaml_reads_otherwise_are_to_be_quoted(fit: Any) -> None:
    folder = ("--data.dataset", "MaskFolder", "--data.dataset.root", "x", "--data.dataset.class_names")
    for names in ("[no, yes]", "[007, 008]"):
        assert "Quote words such as no, 007 and null" in fit(*folder, names)


def test_fits_without_checkpoints_or_validation_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection"))
    (tmp_path / "base.yaml").write_text(CONFIG)
    main(["fit", "-c", "base.yaml", "--trainer.enable_checkpointing", "false"])
    assert not list(tmp_path.rglob("*.ckpt"))
    main(["fit", "-c", "base.yaml", "--trainer.limit_val_batches", "0"])
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == ["last.ckpt"]
    assert any("there is no validation, and so no best.ckpt" in str(warning.message) for warning in recwarn)
    main(["fit", "-c", "base.yaml", "--trainer.callbacks+=ModelCheckpoint"])
    assert len([*tmp_path.rglob("checkpoints/epoch=0-*.ckpt")]) == 1


LINES = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
LINES += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
MERGES = ["b0: &b0 {x: 1}", *(f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}" for i in range(1, 9))]
TEXTS = {
    "\n".join(LINES): "more than 100,000 values",
    "\n".join(MERGES): "more than 100,000 values",
    "a: &a [*a]": "contains itself",
    "[" * 100_000: "nested too deeply",
    "data: " + "{a: " * 100_000: "nested too deeply",
    "? " * 100_000: "nested too deeply",
    "x: '" + "a" * LONGEST + "'": "characters, more than the limit",
    "a: 1\na: 2": "the key 'a' appears twice",
    "trainer:\n\tmax_epochs: 1": "cannot start any token",
    "trainer: !!python/object/apply:os.system ['touch canary']": "could not determine a constructor",
    "{[1]: 2}": "unhashable",
    "a: *b": "undefined alias",
    "a: 1\n---\nb: 2": "but found another document",
    "\0": "unacceptable character",
    f"a: {'1' * 5000}": "Exceeds the limit",
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_hostile_yaml_is_refused_at_once(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(yaml.YAMLError, match=TEXTS[text]):
        load_yaml(text)
    assert time.monotonic() - start < 5


def test_what_yaml_may_hold_is_not_limited() -> None:
    names = [f"class {i}" for i in range(5_000)]
    assert load_yaml(yaml.safe_dump({"names": names})) == {"names": names}
    assert load_yaml("a: &x {b: [1]}\nc: *x\nd: {<<: *x, e: 2}")["d"] == {"b": [1], "e": 2}


def test_what_is_no_config_is_named(fit: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin.yaml").write_bytes("a: caf\xe9".encode("latin1"))
    (tmp_path / "list.yaml").write_text("[1, 2]")
    for name, fault in (("folder", "a folder, not a config"), ("pipe", "not a regular file")):
        assert f"{name}: {fault}" in fit("-c", name)
        assert f"--data: {name} is not a file of settings" in fit("--data", name)
        (tmp_path / "section.yaml").write_text(f"data: {name}")
        assert f"section.yaml: data: {name} is not a file of settings" in fit("-c", "section.yaml")
    assert "latin.yaml: not YAML: 'utf-8' codec" in fit("-c", "latin.yaml")
    assert "list.yaml: expected sections" in fit("-c", "list.yaml")
    for text in ("", "# nothing yet\n"):
        Path("empty.yaml").write_text(text)
        assert "empty.yaml: expected sections such as trainer, model and data; found nothing." in fit(
            "-c", "empty.yaml"
        )
    assert "no such file" in fit("-c", "x" * 5000)
    for name in ("trainer", "data"):
        for value in ("null", "3"):
            (tmp_path / "wrong.yaml").write_text(f"{name}: {value}")
            assert f"wrong.yaml: {name}: " in fit("-c", "wrong.yaml")
    for step in (
        "3",
        "{class_path: OneOf, init_args: {transforms: 3}}",
        "{class_path: HorizontalFlip, init_args: [1]}",
    ):
        (tmp_path / "wrong.yaml").write_text(f"data: {{augment: [{step}]}}")
        assert "augment" in fit("-c", "wrong.yaml")
    (tmp_path / "bomb.yaml").write_text("\n".join(LINES))
    (tmp_path / "section.yaml").write_text("data: bomb.yaml")
    assert "bomb.yaml: not YAML: more than 100,000 values" in fit("-c", "section.yaml")
