"""Which learning rate to begin with (R2)."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer, seed_everything
from PIL import Image
from torch.optim import SGD

from visiontasks.callbacks import ClosedFormStart, FreezeBackbone
from visiontasks.callbacks.rates import LRFinder, suggested_rate
from visiontasks.cli import main
from visiontasks.core.errors import InputError
from visiontasks.data import Shapes, VisionDataModule
from visiontasks.models import Backbone
from visiontasks.tasks import ClassificationTask

STEPS = 16


def find(root: Path, callbacks: list[Callback], **options: Any) -> tuple[ClassificationTask, dict, list[list[float]]]:
    """Runs the finder; returns the model, its first weights, and the rates of heads and backbone in each step."""
    seed_everything(0)
    data = VisionDataModule(partial(Shapes, count=32, size=32), image_size=32, batch_size=8)
    task = ClassificationTask(data.spec, Backbone("test_resnet", False), **options)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    rates: list[list[float]] = []
    make = task.make_optimizer

    def watched(groups: Any) -> Any:
        optimizer = make(groups)
        optimizer.register_step_post_hook(lambda own, *_: rates.append([group["lr"] for group in own.param_groups]))
        return optimizer

    task.make_optimizer = watched
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        max_steps=STEPS, max_epochs=-1, accelerator="cpu", default_root_dir=root, check_val_every_n_epoch=STEPS,
        callbacks=[*callbacks, LRFinder(str(root), STEPS)], **quiet,
    )  # fmt: skip
    trainer.fit(task, data)
    return task, before, rates


def test_r2_rates_rise_and_keep_their_ratio_and_the_model_is_as_before(tmp_path: Path) -> None:
    task, before, rates = find(tmp_path, [], optimizer=partial(SGD, lr=0.1, momentum=0.9), backbone_lr_ratio=0.1)
    heads, backbone = np.array(rates).T
    np.testing.assert_allclose(backbone, 0.1 * heads)
    assert heads[0] == pytest.approx(1e-6)
    assert heads[-1] == pytest.approx(1)
    assert (np.diff(heads) > 0).all()
    parameters = dict(task.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in parameters.items())
    assert all(parameter.requires_grad for parameter in parameters.values())
    with (tmp_path / "lr_find.csv").open() as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["lr"]) for row in rows], heads)
    assert Image.open(tmp_path / "lr_find.png").width > 300
    assert not list(tmp_path.glob("**/*.ckpt"))


def test_r2_the_fit_begins_as_the_config_has_it(tmp_path: Path) -> None:
    class Watch(Callback):
        def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
            self.weight = pl_module.heads["label"].classifier.weight.clone()

    watch = Watch()
    task, before, _ = find(tmp_path, [ClosedFormStart(), watch, FreezeBackbone(-1)])
    weight = task.heads["label"].classifier.weight
    assert torch.equal(weight, watch.weight)  # in closed form, from which the finder set out
    assert not torch.equal(weight, before["heads.label.classifier.weight"])


@pytest.mark.parametrize(("epochs", "moves"), [(-1, False), (1, False), (0, True)])
def test_r2_a_backbone_that_begins_frozen_is_frozen(tmp_path: Path, epochs: int, moves: bool) -> None:
    moved: list[bool] = []

    class Spy(ClassificationTask):
        def on_train_batch_end(self, *_: Any) -> None:
            moved.append(any(p.grad is not None for p in self.backbone.parameters()))

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            moved.append(any(p.grad is not None for p in self.backbone.parameters()))

    seed_everything(0)
    data = VisionDataModule(partial(Shapes, count=16, size=32), image_size=32, batch_size=8)
    task = Spy(data.spec, Backbone("test_resnet", False))
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    callbacks = [FreezeBackbone(epochs), LRFinder(str(tmp_path), 14)]
    Trainer(max_steps=14, accelerator="cpu", default_root_dir=tmp_path, callbacks=callbacks, **quiet).fit(task, data)
    assert any(moved) == moves


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.logspace(-6, 0, 61)
    losses = 2 - 1 / (1 + np.exp(-4 * (np.log10(rates) + 2.5)))  # a step down at 10^-2.5
    losses[:5] += 1e-4 * np.array([1, -1, 1, -1, 1])  # which is steep over the rate itself
    losses[-1] = np.nan
    assert suggested_rate(rates, losses) == pytest.approx(10**-2.5, rel=0.3)
    with pytest.raises(InputError, match=r"12 steps, expected at least 13.*--trainer\.max_steps"):
        LRFinder("runs", 12)


@pytest.mark.parametrize("curve", ["flat", "noise", "rising", "nan at once", "nan after the first"])
def test_a_loss_that_never_falls_has_no_suggestion(curve: str, tmp_path: Path) -> None:
    rates = np.logspace(-6, 0, 61)
    losses = {
        "flat": np.ones(61),
        "noise": 1 + 0.01 * np.random.default_rng(0).normal(size=61),
        "rising": 1 + np.linspace(0, 3, 61),
        "nan at once": np.full(61, np.nan),
        "nan after the first": np.where(np.arange(61) < 12, 1.0, np.nan),
    }[curve]
    assert suggested_rate(rates, losses) is None
    with pytest.warns(UserWarning, match=r"the loss never falls by 3%, so no learning rate is recommended \(.*lr_find"):
        LRFinder(str(tmp_path), 61)._write(rates, losses)
    assert (tmp_path / "lr_find.png").is_file()


def test_r2_the_command_prints_what_can_be_typed(tmp_path: Path, capsys: Any, caplog: Any) -> None:
    config = Path(__file__).parents[1] / "configs/quickstart.yaml"
    few = [
        "--data.dataset.count",
        "16",
        "--data.batch_size",
        "4",
        "--data.image_size",
        "32",
        "--trainer.logger",
        "false",
    ]
    few += ["--model.backbone", "{name: test_resnet, pretrained: false}", "--trainer.accelerator", "cpu"]
    root = ["--trainer.default_root_dir", str(tmp_path)]
    some = ["--trainer.max_steps", "30", "--trainer.callbacks", "[]"]  # solved heads leave little to learn
    main(["lr_find", "-c", str(config), *few, *root, *some])
    (run,) = (tmp_path / "quickstart").iterdir()
    assert {path.name for path in run.iterdir()} == {"config.yaml", "lr_find.csv", "lr_find.png"}
    (line,) = [record.getMessage() for record in caplog.records if "falls fastest" in record.getMessage()]
    found = line.split("--model.optimizer.lr ")[1].split()[0]
    root = ["--trainer.default_root_dir", str(tmp_path / "fit")]
    main(["fit", "-c", str(config), *few, *root, "--model.optimizer.lr", found, "--trainer.max_steps", "1"])
    (run,) = (tmp_path / "fit/quickstart").iterdir()
    optimizer = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["optimizer"]
    assert optimizer["init_args"]["lr"] == float(found)
