"""A task in Python: it learns, resumes, starts from other weights, and says what it cannot do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.optim import SGD, AdamW

import visiontasks
from visiontasks.callbacks import ClosedFormStart, FreezeBackbone, Mix
from visiontasks.core.errors import InputError
from visiontasks.data import ImageFolder, Shapes, VisionDataModule
from visiontasks.losses import CrossEntropy, Focal, ProbabilityMSE
from visiontasks.models import Backbone, LabelHead
from visiontasks.tasks import ClassificationTask, VisionTask
from visiontasks.tasks.restore import build_task, restore_task
from visiontasks.tasks.schedules import Cosine, InverseTime


@pytest.fixture
def colors(class_folders: Path) -> VisionDataModule:
    return VisionDataModule(partial(ImageFolder, root=str(class_folders)), image_size=32, batch_size=6)


def make_task(data: VisionDataModule, pretrained: bool = False, **options: Any) -> ClassificationTask:
    seed_everything(0)
    return ClassificationTask(data.spec, Backbone("test_resnet", pretrained=pretrained), **options)


def make_trainer(tmp_path: Path, epochs: int = 2, callbacks: list | None = None, **options: Any) -> Trainer:
    options = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu", **options}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return Trainer(max_epochs=epochs, callbacks=callbacks, default_root_dir=tmp_path, **quiet, **options)


def fit(task: LightningModule, data: VisionDataModule, trainer: Trainer, **options: Any) -> dict[str, float]:
    trainer.fit(task, data, weights_only=True, **options)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def last(path: Path) -> ModelCheckpoint:
    return ModelCheckpoint(path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)


def same_state(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    "loss", [CrossEntropy(label_smoothing=0.1, class_weights="inverse"), Focal(), ProbabilityMSE()]
)
def test_learns_colors_well_above_the_baseline(colors: VisionDataModule, tmp_path: Path, loss: Any) -> None:
    task = make_task(colors, head=partial(LabelHead, loss=loss), optimizer=partial(AdamW, lr=1e-2))
    metrics = fit(task, colors, make_trainer(tmp_path, epochs=8))
    assert metrics["val/accuracy_baseline"] == pytest.approx(1 / 3)
    assert metrics["val/accuracy"] >= 0.9
    tested = make_trainer(tmp_path).test(task, colors, verbose=False)[0]
    assert {"test/accuracy", "test/f1", "test/auroc", "test/ece", "test/loss"} <= set(tested)
    assert task.tables()["label"]["confusion"].sum() == 9


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "flatten"])
def test_overfits_eight_images(tmp_path: Path, pool: str) -> None:
    data = VisionDataModule(partial(Shapes, count=8, size=32), image_size=32, batch_size=8, augment="none")
    head = partial(LabelHead, pool=pool, hidden=[16], dropout=0.0)
    task = make_task(data, head=head, optimizer=partial(AdamW, lr=3e-3))
    metrics = fit(task, data, make_trainer(tmp_path, epochs=40, limit_val_batches=0))
    assert metrics["train/accuracy"] == 1


def test_closed_form_start_solves_the_task_before_any_step(colors: VisionDataModule, tmp_path: Path) -> None:
    task = make_task(colors)
    before = {name: value.clone() for name, value in task.backbone.state_dict().items()}
    trainer = make_trainer(tmp_path, epochs=0, callbacks=[ClosedFormStart()])
    fit(task, colors, trainer)
    assert trainer.validate(task, colors, verbose=False)[0]["val/accuracy"] == 1
    assert all(torch.equal(before[name], value) for name, value in task.backbone.state_dict().items())


def test_resume_in_the_frozen_phase_ends_with_the_same_weights(colors: VisionDataModule, tmp_path: Path) -> None:
    def callbacks(folder: str) -> list:
        later = {"lr": 2e-3, "schedule": InverseTime(0.01), "momentum": 0.8, "nesterov": True}
        return [ClosedFormStart(), FreezeBackbone(2, **later), Mix(p=0.5), last(tmp_path / folder)]

    def task() -> ClassificationTask:
        head = partial(LabelHead, dropout=0.3)
        return make_task(colors, head=head, optimizer=partial(SGD, lr=0.1, momentum=0.9), schedule=Cosine())

    whole = task()
    fit(whole, colors, make_trainer(tmp_path, 4, callbacks("a"), enable_checkpointing=True))
    for epoch in (0, 1, 2):  # inside the frozen phase, at its end, after it
        resumed = task()
        path = tmp_path / "a" / f"epoch={epoch}.ckpt"
        fit(
            resumed,
            colors,
            make_trainer(tmp_path, 4, callbacks(f"b{epoch}"), enable_checkpointing=True),
            ckpt_path=path,
        )
        assert same_state(whole, resumed), f"resumed after epoch {epoch}"


def test_frozen_backbone_does_not_move_and_then_does(colors: VisionDataModule, tmp_path: Path) -> None:
    task = make_task(colors)
    before = {name: value.clone() for name, value in task.backbone.state_dict().items()}
    fit(task, colors, make_trainer(tmp_path, 1, [FreezeBackbone(1)]))
    assert all(torch.equal(before[name], value) for name, value in task.backbone.state_dict().items())
    task = make_task(colors)
    fit(task, colors, make_trainer(tmp_path, 2, [FreezeBackbone(1, stages=1)]))
    *frozen, trained = [
        [name for name, p in task.backbone.net.named_parameters() if any(p is q for q in stage)]
        for stage in task.backbone.stages()
    ]
    state = task.backbone.net.state_dict()
    assert all(torch.equal(before[f"net.{name}"], state[name]) for stage in frozen for name in stage)
    assert not any(torch.equal(before[f"net.{name}"], state[name]) for name in trained)


def test_phases_have_their_own_rate_momentum_and_schedule(colors: VisionDataModule, tmp_path: Path) -> None:
    rates: list[tuple[float, float, float]] = []

    class Watch(ModelCheckpoint):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            heads, backbone = trainer.optimizers[0].param_groups
            rates.append((heads["lr"], backbone["lr"], heads["momentum"]))

    callbacks = [FreezeBackbone(1, lr=0.01, momentum=0.5, schedule=InverseTime(0.1)), Watch(tmp_path)]
    options = {"optimizer": partial(SGD, lr=0.2, momentum=0.9), "schedule": InverseTime(0.01), "backbone_lr_ratio": 0.5}
    fit(make_task(colors, **options), colors, make_trainer(tmp_path, 2, callbacks, enable_checkpointing=True))
    steps = len(rates) // 2
    expected = [(0.2 / (1 + 0.01 * (t + 1)), 0.9) for t in range(steps)]  # read after the scheduler's step
    expected[-1] = (0.01, 0.9)
    expected += [(0.01 / (1 + 0.1 * (t + 1)), 0.5) for t in range(steps)]
    assert [rate[0] for rate in rates] == pytest.approx([rate for rate, _ in expected])
    assert [rate[1] for rate in rates] == pytest.approx([rate / 2 for rate, _ in expected])
    assert [rate[2] for rate in rates] == [momentum for _, momentum in expected]


def test_checkpoint_predicts_the_same_bit_for_bit_without_config(colors: VisionDataModule, tmp_path: Path) -> None:
    task = make_task(colors, head=partial(LabelHead, hidden=[8], loss=CrossEntropy(class_weights="inverse")))
    trainer = make_trainer(tmp_path, 1)
    fit(task, colors, trainer)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    predictor = visiontasks.load(str(tmp_path / "model.ckpt"))
    assert predictor.class_names == ["blue", "green", "red"]
    opened = restore_task(str(tmp_path / "model.ckpt"))
    batch = next(iter(colors.val_dataloader()))
    with torch.inference_mode():
        assert torch.equal(task.eval()(batch["image"])["label"], opened(batch["image"])["label"])
    assert opened.hparams["init_args"]["head"]["init_args"]["hidden"] == [8]


def test_weights_start_a_new_fit_and_other_classes_get_a_new_head(
    colors: VisionDataModule, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    task = make_task(colors)
    trainer = make_trainer(tmp_path, 1)
    fit(task, colors, trainer)
    trainer.save_checkpoint(path := tmp_path / "model.ckpt")
    again = make_task(colors, weights=str(path))
    assert same_state(task, again)
    (trainer := make_trainer(tmp_path, 0)).fit(again, colors)
    trainer.save_checkpoint(tmp_path / "again.ckpt")
    shapes = VisionDataModule(partial(Shapes, count=8, size=32), image_size=32)
    other = make_task(shapes, weights=str(path))
    assert same_state(task.backbone, other.backbone)
    assert other.heads["label"].classifier.out_features == 4
    with pytest.raises(InputError, match=r"model\.weights: .* expected \("):
        ClassificationTask(colors.spec, Backbone("test_efficientnet", pretrained=False), weights=str(path))
    path.unlink()
    assert same_state(again, restore_task(str(tmp_path / "again.ckpt")))  # needs nothing but itself


def test_class_names_of_data_and_model_must_agree(colors: VisionDataModule, tmp_path: Path) -> None:
    shapes = VisionDataModule(partial(Shapes, count=8, size=32), image_size=32)
    with pytest.raises(InputError, match=r"class_names: the data has .*circle"):
        fit(make_task(colors), shapes, make_trainer(tmp_path))


def test_mix_trains_on_mixtures_and_leaves_the_labels(colors: VisionDataModule, tmp_path: Path) -> None:
    seen: list[dict] = []

    class Task(ClassificationTask):
        def training_step(self, batch: dict, batch_idx: int) -> Any:
            seen.append(dict(batch))
            return super().training_step(batch, batch_idx)

    seed_everything(0)
    task = Task(colors.spec, Backbone("test_resnet", pretrained=False))
    fit(task, colors, make_trainer(tmp_path, 1, [Mix()]))
    for batch in seen:
        assert batch["image"].is_floating_point()
        assert batch["label"].dtype == torch.int64
        assert batch["mixed_label"].sum(1) == pytest.approx(torch.ones(len(batch["label"])).numpy())
    assert any(((batch["mixed_label"] > 0) & (batch["mixed_label"] < 1)).any() for batch in seen)


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": [EMAWeightAveraging(decay=0.9)]},
        {"gradient_clip_val": 0.1, "accumulate_grad_batches": 2},
        {"precision": "bf16-mixed", "gradient_clip_val": 0.1},
        {"overfit_batches": 1},
    ],
    ids=["ema", "clip and accumulate", "bf16", "overfit_batches"],
)
def test_trainer_options_work(colors: VisionDataModule, tmp_path: Path, options: dict) -> None:
    metrics = fit(make_task(colors), colors, make_trainer(tmp_path, 2, **options))
    assert 0 < metrics["train/loss"] < 2


def test_normalization_by_the_training_set(colors: VisionDataModule, tmp_path: Path) -> None:
    seed_everything(0)
    backbone = Backbone("test_resnet", pretrained=False, normalization="dataset")
    fit(ClassificationTask(colors.spec, backbone), colors, make_trainer(tmp_path, 1))
    mean, std = colors.channel_statistics
    assert torch.equal(backbone.normalizer.mean.flatten(), mean)
    assert torch.equal(backbone.normalizer.std.flatten(), std)


def test_what_a_checkpoint_could_not_hold_is_refused_at_construction(colors: VisionDataModule) -> None:
    with pytest.raises(InputError, match=r"optimizer: .*cannot be stored in a checkpoint"):
        make_task(colors, optimizer=lambda params: SGD(params, lr=0.1))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("bbox", "LabelHead predicts 'label', not 'bbox'"),
        ("species", "'species' is not the key of a target kind; there are .*label"),
    ],
)
def test_head_of_another_key_is_refused(colors: VisionDataModule, key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        VisionTask(colors.spec, Backbone("test_resnet", False), {key: LabelHead})


def test_plain_python_of_the_readme_runs(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readme_code: Callable[[str], str]
) -> None:
    code = readme_code("python").replace("data/flowers5", str(class_folders)).replace("image_size=224", "image_size=32")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code.replace("max_epochs=5", "max_epochs=1"), names)
    assert names["predictions"][0]["class_name"] in ("blue", "green", "red")


@pytest.mark.slow
def test_compiled_backbone_trains_and_predicts_uncompiled(colors: VisionDataModule, tmp_path: Path) -> None:
    task = make_task(colors, compile=True)
    assert task.backbone._compiled_call_impl is not None
    trainer = make_trainer(tmp_path, 1)
    assert fit(task, colors, trainer)["train/loss"] < 2
    trainer.save_checkpoint(path := tmp_path / "model.ckpt")
    image = colors.dataset("val").image(0)
    assert visiontasks.load(str(path)).predict([image])[0]["class_name"] in ("blue", "green", "red")


def test_epochs_of_a_phase_are_those_of_the_loader_whatever_ends_the_fit(
    colors: VisionDataModule, tmp_path: Path
) -> None:
    trainer = make_trainer(tmp_path, -1, [FreezeBackbone(1, lr=0.01)], max_steps=6)  # 4 steps an epoch
    options = {"optimizer": partial(SGD, lr=0.2), "schedule": InverseTime(0.0)}
    fit(make_task(colors, **options), colors, trainer)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01)
    with pytest.raises(InputError, match="max_epochs: -1 has no end"):
        fit(make_task(colors), colors, make_trainer(tmp_path, -1))


def test_momentum_for_an_optimizer_without_it_is_refused(colors: VisionDataModule, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="DefaultAdamW has no momentum"):
        fit(make_task(colors), colors, make_trainer(tmp_path, 1, [FreezeBackbone(0, momentum=0.9)]))


@pytest.mark.parametrize(
    "head", [{"class_path": "antigravity.geohash"}, "antigravity.geohash", ["antigravity.geohash"]]
)
def test_checkpoint_cannot_import_what_the_caller_has_not(colors: VisionDataModule, head: Any) -> None:
    description = dict(make_task(colors).hparams)
    description["init_args"] = {**description["init_args"], "head": head}
    with pytest.raises(InputError, match=r"antigravity\.geohash"):
        build_task(description)
    assert "antigravity" not in sys.modules
