"""Objects as plain data, and back."""

from __future__ import annotations

import copy
import enum
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn
from torch.optim import SGD, AdamW

from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Configurable, serialize
from visiontasks.losses import CrossEntropy, Focal, ProbabilityMSE
from visiontasks.models import Backbone, LabelHead
from visiontasks.tasks import ClassificationTask, VisionTask
from visiontasks.tasks.restore import build_task
from visiontasks.tasks.schedules import Constant, Cosine, Exponential, InverseTime, Schedule, Step

SPEC = {"class_names": ["a", "b", "c"], "image_size": 32, "resize": "stretch"}


class OwnHead(LabelHead):
    """A user's class, in a module that is imported."""

    def __init__(self, channels: list[int], num_classes: int, temper: float = 2.0) -> None:
        super().__init__(channels, num_classes)
        self.temper = temper


class Color(enum.StrEnum):
    RED = "red"


def make_task(**options: Any) -> ClassificationTask:
    options.setdefault("backbone", Backbone("test_resnet", False))
    return ClassificationTask(**{"spec": SPEC, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"head": LabelHead, "optimizer": SGD},
        {"optimizer": partial(AdamW, lr=1e-3, betas=(0.8, 0.99))},
        {
            "head": partial(LabelHead, hidden=[8, 4], dropout=0.25, loss=Focal(1.5, class_weights=[1, 2, 3])),
            "optimizer": partial(SGD, lr=0.2, momentum=0.9),
            "schedule": InverseTime(0.01),
            "backbone_lr_ratio": 0.1,
        },
        {"head": partial(LabelHead, pool="flatten", loss=ProbabilityMSE()), "schedule": Step([2, 4], interval="step")},
        {"head": partial(LabelHead, loss=CrossEntropy(0.1, "inverse")), "schedule": Constant()},
        {"head": partial(OwnHead, temper=3.0)},
    ],
    ids=["defaults", "classes", "partial", "nested", "flatten", "auto", "own class"],
)
def test_a_task_built_from_its_description_has_the_same_one(options: dict[str, Any]) -> None:
    task = make_task(**options)
    again = build_task(dict(task.hparams), trust=[OwnHead])
    assert dict(again.hparams) == dict(task.hparams) == serialize(task)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in task.state_dict().items()}
    assert [str(head) for head in again.heads.values()] == [str(head) for head in task.heads.values()]


def test_a_backbone_is_described_with_what_it_was_given() -> None:
    backbone = Backbone("test_efficientnet", False, normalization="dataset", batch_norm="eval", in_channels=1)
    again = build_task(dict(make_task(backbone=backbone).hparams)).backbone
    assert (again.name, again.normalization, again.in_channels, again.keeps_batch_norm) == (
        ("test_efficientnet", "dataset", 1, True)
    )


def test_a_description_is_plain_data() -> None:
    description = serialize(make_task(head=partial(LabelHead, hidden=[4], loss=Focal()), optimizer=SGD))
    assert json.loads(json.dumps(description)) == description
    assert description["class_path"] == "visiontasks.tasks.ClassificationTask"
    assert description["init_args"]["spec"] == SPEC


def test_defaults_are_written_out() -> None:
    arguments = serialize(make_task())["init_args"]
    assert arguments.keys() == {
        *("spec", "backbone", "head", "optimizer", "schedule", "backbone_lr_ratio", "weights", "compile")
    }
    assert arguments["head"]["init_args"].keys() == {"pool", "hidden", "dropout", "loss", "distance"}
    assert arguments["head"]["init_args"]["loss"]["init_args"].keys() == {"label_smoothing", "class_weights"}
    assert arguments["backbone"]["init_args"] == {
        **{"name": "test_resnet", "pretrained": False, "normalization": "pretrained"},
        **{"batch_norm": "auto", "in_channels": 3, "output_stride": None, "top": False},
    }
    assert arguments["optimizer"]["init_args"].keys() == {"lr"}
    assert serialize(partial(SGD, lr=0.2))["init_args"] == {
        **{"lr": 0.2, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
        **{"maximize": False, "foreach": None, "differentiable": False, "fused": None},
    }


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"optimizer": lambda params: SGD(params, lr=0.1)}, "model.optimizer"),
        ({"weights": Path("best.ckpt")}, "model.weights"),
        ({"backbone_lr_ratio": np.float64(0.5)}, "model.backbone_lr_ratio"),
        ({"backbone_lr_ratio": torch.tensor(0.5)}, "model.backbone_lr_ratio"),
        ({"spec": {**SPEC, "class_names": np.array(["a", "b"])}}, "model.spec.class_names"),
        ({"spec": {**SPEC, "class_names": ["a", Color.RED]}}, r"model.spec.class_names\[1\]"),
        ({"spec": {**SPEC, "extra": math}}, "model.spec.extra"),
        ({"spec": {**SPEC, "extra": {1: "a"}}}, "model.spec.extra"),
        ({"head": partial(LabelHead, loss=nn.CrossEntropyLoss())}, "model.head.loss"),
        ({"head": partial(LabelHead, loss=Focal(gamma=np.float32(2)))}, "model.head.loss.gamma"),
        ({"head": partial(LabelHead, hidden=[np.int64(4)])}, r"model.head.hidden\[0\]"),
        ({"head": partial(lambda channels, classes: LabelHead(channels, classes))}, "model.head"),
    ],
)
def test_what_no_checkpoint_could_hold_is_an_error_that_names_it(options: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: .* cannot be stored in a checkpoint"):
        make_task(**options)


def test_what_the_caller_changes_afterwards_is_not_in_the_checkpoint() -> None:
    names = ["a", "b"]
    task = make_task(spec={**SPEC, "class_names": names})
    names.append("c")
    assert task.hparams["init_args"]["spec"]["class_names"] == ["a", "b"]


def test_positional_arguments_and_copies_are_described_alike() -> None:
    loss = Focal(1.0, [1.0, 2.0])
    expected = serialize(Focal(gamma=1.0, class_weights=[1.0, 2.0]))
    assert serialize(loss) == serialize(copy.deepcopy(loss)) == expected


def test_a_default_that_is_no_plain_data_is_left_to_the_class() -> None:
    class Own(Configurable):
        def __init__(self, size: int = 3, rule: Any = math.sqrt) -> None:
            self.size, self.rule = size, rule

    assert serialize(Own())["init_args"] == {"size": 3}
    with pytest.raises(InputError, match=r"^model\.rule: "):
        serialize(Own(rule=math.sqrt))


def test_wrong_arguments_are_the_same_error_as_without_a_description() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'gama'"):
        Focal(gama=2)  # ty: ignore[unknown-argument]


def parse_task(**arguments: Any) -> Any:
    """The resolved arguments of a task of which a config gives only some."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VisionTask, "model")
    init_args = {"spec": SPEC, "backbone": {"name": "test_resnet", "pretrained": False}, **arguments}
    return parser.parse_object({"model": {"class_path": "ClassificationTask", "init_args": init_args}}).model.init_args


# jsonargparse gives a class the arguments of the default that it replaces, if it takes some of the same name


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_an_optimizer_from_a_config_has_its_own_defaults(optimizer: type) -> None:
    name = f"torch.optim.{optimizer.__name__}"
    found = parse_task(optimizer={"class_path": name, "init_args": {"lr": 0.2}}).optimizer.init_args.as_dict()
    expected = serialize(partial(optimizer, lr=0.2))["init_args"]
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()} == expected


@pytest.mark.parametrize("schedule", [Exponential(), Step([3]), InverseTime(0.1), Constant(), Cosine()])
def test_a_schedule_from_a_config_has_its_own_defaults(schedule: Schedule) -> None:
    given = {name: value for name, value in vars(schedule).items() if name in ("milestones", "decay")}
    found = parse_task(schedule={"class_path": type(schedule).__name__, "init_args": given}).schedule
    assert (found.init_args.as_dict() if "init_args" in found else {}) == serialize(schedule)["init_args"]


def test_the_rate_of_the_default_optimizer_can_be_given_alone() -> None:
    optimizer = build_task({**serialize(make_task(optimizer=AdamW))}).make_optimizer([nn.Parameter(torch.zeros(1))])
    assert optimizer.defaults["lr"] == 1e-3
    assert parse_task(optimizer={"init_args": {"lr": 0.5}}).optimizer.init_args.lr == 0.5
