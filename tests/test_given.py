"""A mistake in what a command is given is named in one line, before anything heavy is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from visiontasks.cli import main
from visiontasks.cli.given import find_model
from visiontasks.cli.parser import Parser
from visiontasks.cli.words import MEANT, TRAINING, WORDS
from visiontasks.core.compat import option_names
from visiontasks.core.errors import InputError

QUICK = {  # a command: what its error says
    "fti -c some.yaml": "no command 'fti'; did you mean 'fit'?",
    "fit -c smoe.yaml": "smoe.yaml: no such file. Did you mean some.yaml?",
    "fit -c nothing.yaml": "nothing.yaml: no such file.",
    "fit -c folder": "folder: a folder, not a config. `visiontasks init folder` writes a config for it.",
    "fit some.yaml": "fit: 'some.yaml' stands alone. Did you mean `fit -c some.yaml`?",
    "train -c some.yaml": "no command 'train'; did you mean 'fit'?",
    "fit folder": "fit: 'folder' is a folder. `visiontasks init folder` writes a config for it.",
    "doctor folder": "doctor: 'folder' is a folder. `visiontasks init folder` writes a config for it.",
    "doctor some.yaml": "doctor: 'some.yaml' stands alone. Did you mean `doctor -c some.yaml`?",
    "test": "test needs a model: give --ckpt_path RUN, a run directory or a checkpoint in one.",
    "demo some.pt2 --port 99999": "argument --port: 99999 must be 0 or more and 65535 or less.",
    "fit -c some.yaml --trainer.max_epoch 1": "no argument --trainer.max_epoch. Did you mean `--trainer.max_epochs 1`?",
    "fit -c some.yaml --data.imgsize=96": "there is no argument --data.imgsize. Did you mean `--data.image_size`?",
    "fit -c some.yaml --data.xyzzy 1": "there is no argument --data.xyzzy. It has augment, balance, batch_size, ",
    "fit -c some.yaml --ckpt_path gone.ckpt": "gone.ckpt: no such checkpoint (expected a local file;",
    "test --ckpt_path gone.ckpt": "gone.ckpt: no such checkpoint",
    "fit -c some.yaml --epochs 3": "fit: there is no argument --epochs. Did you mean `--trainer.max_epochs 3`?",
    "fit -c some.yaml --epochs=3": "Did you mean `--trainer.max_epochs 3`?",
    "fit -c some.yaml --lr 0.1": "Did you mean `--model.optimizer.lr 0.1`?",
    "fit -c some.yaml --batch_size 8": "Did you mean `--data.batch_size 8`?",
    "fit -c some.yaml --batch-size 8": "Did you mean `--data.batch_size 8`?",
    "fit -c some.yaml --workers 2": "Did you mean `--data.num_workers 2`?",
    "fit -c some.yaml --gpus 2": "Did you mean `--trainer.devices 2`?",
    "fit -c some.yaml --device cuda": "Did you mean `--trainer.accelerator cuda`?",
    "fit -c some.yaml --output out": "Did you mean `--trainer.default_root_dir out`?",
    "fit -c some.yaml --name first": "Did you mean `--trainer.default_root_dir first`?",
    "fit -c some.yaml --dta.batch_size 8": "there is no argument --dta.batch_size. Did you mean `--data.batch_size 8`?",
    "fit -c some.yaml --xyzzy": "fit: there is no argument --xyzzy. `visiontasks fit --help` lists the arguments.",
    "fit -c some.yaml --pateince 3": "Did you mean `--early_stopping 3`?",
    "fit -c some.yaml --model resnet50": "For a network of timm, use `--model.backbone.name resnet50`.",
    "fit -c some.yaml --model=vit_tiny.augreg": "use `--model.backbone.name vit_tiny.augreg`.",
    "fit -c some.yaml --data folder": "For the folder of the images, use `--data.dataset.root folder`.",
    "predict gone.ckpt folder --output out": "gone.ckpt: no such checkpoint",
    "predict resnet18 gone.jpg --output out": "gone.jpg: no such file or folder.",
    "predict resnet18 folder --output out": "folder: no images",
    "predict resnet18 folder": "predict: the following arguments are required: --output.",
    "predict resnet18 folder --ouput out": "predict: there is no argument --ouput. Did you mean `--output out`?",
    "predict resnet18 folder --output out --epochs 3": "predict: there is no argument --epochs. `visiontasks predict",
    "predict resnet18 folder --output some.yaml": "--output some.yaml: the folder cannot be written to, because some.",
    "predict resnet18 folder --output some.yaml/out": "--output some.yaml/out: the folder cannot be written to, becau",
    "predict resnet18 folder --output out --threshold 3": "argument --threshold: 3 must be 0 or more and 1 or less. `",
    "predict some.pt2 photo.png --output out": "some.pt2: reading a .pt2 file can run code that is in it.",
    "predict some.pt2 photo.png --output out --pretrained true": "--pretrained True: some.pt2 already has weights.",
    "detect gone.ckpt folder --output out": "gone.ckpt: no such checkpoint",
    "detect some.pt2 gone.jpg --output out": "gone.jpg: no such file or folder.",
    "evaluate gone.ckpt": "gone.ckpt: no such checkpoint",
    "evaluate gone.onnx": "gone.onnx: no such file",
    "evaluate some.pt2 -c gone.yaml": "gone.yaml: no such config.",
    "evaluate some.pt2 --dat.batch_size 3": "evaluate: there is no argument --dat.batch_size.",
    "evaluate some.pt2 --bs 3": "Did you mean `--data.batch_size 3`?",
    "export gone.ckpt": "gone.ckpt: no such checkpoint",
    "export some.pt2 --samples gone.jpg": "gone.jpg: no such file or folder.",
    "export some.pt2 --output some.yaml/x.onnx": "--output some.yaml: the folder cannot be written to",
    "inspect layers gone.ckpt": "gone.ckpt: no such checkpoint",
    "inspect layers gone.yaml": "gone.yaml: no such config",
    "inspect layer some.yaml": "inspect: argument WHAT: invalid choice: 'layer' (choose from",
    "inspect layers some.yaml --ckpt_path gone.ckpt": "gone.ckpt: no such checkpoint",
    "fit -c classification/flower5.yaml": "Did you mean classification/flowers5.yaml",
    "init gone": "gone: no such folder.",
    "init folder": "folder: no images in this folder (.jpg",
    "init folder --output some.yaml": "some.yaml: a file of this name is there already.",
    "init folder --output some.yaml/x.yaml": "--output some.yaml: the folder cannot be written to",
    "init folder --laoyut masks": "init: there is no argument --laoyut. Did you mean `--layout masks`?",
    "study gone.yaml": "gone.yaml: no such config.",
    "study some.yaml --epochs 3": "Did you mean `--trainer.max_epochs 3`?",
}
CODE = """
import contextlib, io, json, sys
from visiontasks.cli import main

found = {}
for command in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main(command.split())
        except SystemExit as stop:
            status = stop.code
    found[command] = [status, said.getvalue(), "torch" in sys.modules or "lightning" in sys.modules]
print(json.dumps(found))
"""


def test_mistakes_are_named_before_anything_heavy_is_imported(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    write_image(tmp_path / "photo.png")
    (tmp_path / "folder").mkdir()
    for name in ("some.yaml", "some.pt2"):
        (tmp_path / name).write_text("trainer: {}")
    args, given = [sys.executable, "-c", CODE], json.dumps([*QUICK])
    run = subprocess.run(args, input=given, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert [command for command, (status, _, _) in found.items() if status != 2] == []
    assert [command for command, (_, _, heavy) in found.items() if heavy] == []
    for command, expected in QUICK.items():
        (line,) = found[command][1].splitlines()
        assert line.startswith("error: ")
        assert expected in line
    assert not (tmp_path / "out").exists()


def test_a_command_without_arguments_is_no_mistake(capsys: pytest.CaptureFixture) -> None:
    main(["configs"])
    assert "quickstart.yaml" in capsys.readouterr().out


def test_every_name_that_is_suggested_exists(tmp_path: Path) -> None:
    values = {
        "data.augment": "light",
        "data.batch_size": "4",
        "data.dataset": "ImageFolder",
        "data.dataset.root": "photos",
        "data.dataset.splits": "{val: 0.2}",
        "data.image_size": "32",
        "data.num_workers": "0",
        "early_stopping": "3",
        "model.backbone.name": "resnet18",
        "model.backbone.pretrained": "false",
        "model.optimizer": "SGD",
        "model.optimizer.lr": "0.1",
        "model.optimizer.weight_decay": "0.1",
        "model.schedule": "Constant",
        "model.weights": "some.ckpt",
        "seed_everything": "3",
        "trainer.accelerator": "cpu",
        "trainer.accumulate_grad_batches": "2",
        "trainer.callbacks": "Curves",
        "trainer.default_root_dir": "out",
        "trainer.devices": "1",
        "trainer.gradient_clip_val": "1",
        "trainer.limit_train_batches": "2",
        "trainer.logger": "false",
        "trainer.max_epochs": "3",
        "trainer.max_steps": "3",
        "trainer.max_time": "00:01:00:00",
        "trainer.precision": "bf16-mixed",
    }
    assert values.keys() == MEANT.keys() - {"ckpt_path", "config"}  # which are not keys of a config
    assert len(WORDS) == sum(len(words.split()) for words in MEANT.values())
    given = [part for name, value in values.items() for part in (f"--{name}", value)]
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--model", "ClassificationTask", *given, "--print_config"])


def test_the_first_parts_of_arguments_are_those_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[set[str]] = []
    monkeypatch.setattr(Parser, "parse_args", lambda self, args: sys.exit(found.append(option_names(self))))
    with pytest.raises(SystemExit):
        main(["fit", "-c", "configs/quickstart.yaml"])
    assert {name.partition(".")[0].rstrip("+") for name in found[0]} == {*TRAINING, "c", "h"} - {"help_all"}


def runs(tmp_path: Path, *names: str) -> Path:
    for age, name in enumerate(reversed(names)):
        path = tmp_path / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    return tmp_path / "runs"


def test_a_run_directory_stands_for_its_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = runs(tmp_path, "a/1/best.ckpt", "a/1/last.ckpt", "a/2/last.ckpt", "b/3/best.ckpt")
    assert find_model(root / "a/1") == str(root / "a/1/best.ckpt")
    assert find_model(str(root / "a/1"), ("last.ckpt",)) == str(root / "a/1/last.ckpt")
    assert capsys.readouterr().err == ""
    assert find_model(root / "a/2") == str(root / "a/2/last.ckpt")
    assert capsys.readouterr().err == f"{root}/a/2 has no best.ckpt: last.ckpt is taken.\n"
    assert find_model(root / "a/2/last.ckpt") == str(root / "a/2/last.ckpt")
    with pytest.raises(InputError, match=rf"^{root}/a: holds 2 runs. Give one; the newest is {root}/a/2.$"):
        find_model(root / "a")
    with pytest.raises(InputError, match=rf"^{root}: holds 3 runs. Give one; the newest is {root}/b/3.$"):
        find_model(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: a folder without best.ckpt and last.ckpt. Give a run directory or a"):
        find_model(tmp_path / "empty")
