"""The command line: commands, precedence, run directories, and what it says to mistakes (R6)."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
import yaml

import visiontasks
from visiontasks.cli import main
from visiontasks.tasks.checkpoint import read_checkpoint

CONFIG = """
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
report: false
model:
  class_path: ClassificationTask
  init_args:
    backbone: {name: test_resnet, pretrained: false}
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.05}}
data:
  dataset: {class_path: ImageFolder, init_args: {root: ROOT}}
  image_size: 32
  batch_size: 8
"""


SET_WITH_SECRETS = """
from visiontasks.data import ImageFolder

class SecretFolder(ImageFolder):
    def __init__(self, split: str, root: str, token: str = "", password: str = "", address: str = ""):
        assert (token, password, address) == ("canary-3", "canary-2", "https://me:canary-4@host/x")
        super().__init__(split, root)
"""


@pytest.fixture
def config(tmp_path: Path, class_folders: Path) -> Path:
    path = tmp_path / "colors.yaml"
    path.write_text(CONFIG.replace("ROOT", str(class_folders)))
    return path


@pytest.fixture
def run(config: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs a command on the config with CSV only, and returns its run directory."""

    def command(name: str, *args: str) -> Path:
        runs = tmp_path / "runs"
        before = set(runs.glob("*/*"))
        main([name, "-c", str(config), "--trainer.logger", "false", "--trainer.default_root_dir", str(runs), *args])
        new = set(runs.glob("*/*")) - before
        return new.pop() if new else Path(args[args.index("--ckpt_path") + 1]).parent  # a fit that resumed

    return command


def error_of(capsys: pytest.CaptureFixture, *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(args))
    assert stop.value.code == 2
    return capsys.readouterr().err


def hyperparameters(directory: Path, name: str = "last.ckpt") -> dict[str, Any]:
    return read_checkpoint(directory / name)["hyper_parameters"]["init_args"]


def test_help_lists_every_command(capsys: pytest.CaptureFixture) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("fit", "validate", "test", "probe", "predict"))


def test_a_run_leaves_one_directory_with_everything(run: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    first, second = run("fit"), run("fit")
    assert first != second
    assert first.parent.name == "colors"
    names = {path.name for path in first.iterdir()}
    assert {"best.ckpt", "last.ckpt", "config.yaml", "metrics.csv", "curves.png"} <= names
    resolved = yaml.safe_load((first / "config.yaml").read_text())
    assert resolved["model"]["init_args"]["head"]["init_args"]["pool"] == "avg"
    with (first / "metrics.csv").open() as file:
        assert any(row.get("val/accuracy") for row in csv.DictReader(file))
    assert "baseline" in capsys.readouterr().out


def test_test_writes_the_tables(run: Callable[..., Path]) -> None:
    trained = run("fit")
    tested = run("test", "--ckpt_path", str(trained / "best.ckpt"))
    rows = (tested / "test_per_class.csv").read_text().splitlines()
    assert rows[0] == "class,recall,precision,f1"
    assert [row.split(",")[0] for row in rows[1:]] == ["blue", "green", "red"]
    confusion = [row.split(",")[1:] for row in (tested / "test_confusion.csv").read_text().splitlines()[1:]]
    assert [sum(map(int, row)) for row in confusion] == [3, 3, 3]


def test_test_needs_only_the_directory_of_a_run_and_changes_nothing_in_it(
    run: Callable[..., Path], class_folders: Path, tmp_path: Path
) -> None:
    quiet = ["--trainer.logger", "false"]
    trained = run("fit", "--data.dataset.splits", "{val: 0.2}")
    before = {path: path.read_bytes() for path in trained.iterdir()}
    for folder in ("test", "test-1"):
        main(["test", "--ckpt_path", str(trained), *quiet])
        assert (trained / folder / "test_per_class.csv").is_file()
    main(["validate", "--ckpt_path", str(trained / "last.ckpt"), "--data.batch_size", "4", *quiet])
    assert yaml.safe_load((trained / "validate/config.yaml").read_text())["data"]["batch_size"] == 4
    saved = yaml.safe_load((trained / "test-1/config.yaml").read_text())
    assert saved["data"]["dataset"]["init_args"]["root"] == str(class_folders)
    files = {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    assert files == before
    assert {path.name for path in trained.iterdir() if path.is_dir()} == {"test", "test-1", "validate"}
    main(["test", "--ckpt_path", str(trained), "--trainer.default_root_dir", str(tmp_path / "else"), *quiet])
    assert len(list((tmp_path / "else").glob("run/*/test_per_class.csv"))) == 1


def test_test_without_a_config_executes_nothing_that_the_config_beside_names(
    run: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    trained = run("fit")
    text = (trained / "config.yaml").read_text()
    (trained / "config.yaml").write_text(text.replace("visiontasks.data.ImageFolder", "os.system"))
    message = error_of(capsys, "test", "--ckpt_path", str(trained))
    assert f"{trained}/config.yaml: data.dataset: the class 'os.system' is not an allowed class" in message
    (trained / "config.yaml").write_text(text.replace("imports: []", "imports: [antigravity]"))
    main(["test", "--ckpt_path", str(trained), "--trainer.logger", "false"])
    assert "antigravity" not in sys.modules
    (trained / "config.yaml").unlink()
    message = error_of(capsys, "test", "--ckpt_path", str(trained))
    assert f"{trained}/config.yaml: no such config for the data. Give one with `-c CONFIG`." in message


def test_a_command_that_fails_early_leaves_no_empty_folders(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "all/runs"
    args = ["fit", "-c", str(config), "--trainer.logger", "false", "--trainer.default_root_dir", str(root)]
    assert "no such folder" in error_of(capsys, *args, "--data.dataset.root", "gone")
    assert not root.parent.exists()
    (root / "colors").mkdir(parents=True)
    assert "no such folder" in error_of(capsys, *args, "--data.dataset.root", "gone")
    assert [*root.rglob("*")] == [root / "colors"]  # which is the user's
    main(args)
    assert len([*root.glob("colors/*/best.ckpt")]) == 1


def test_probe_solves_the_head_and_saves_it(run: Callable[..., Path], class_folders: Path, tmp_path: Path) -> None:
    directory = run("probe")
    output = tmp_path / "predictions"
    main(
        [
            "predict",
            str(directory / "last.ckpt"),
            str(class_folders / "val"),
            "--output",
            str(output),
            "--probabilities",
        ]
    )
    with (output / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]) for row in rows] == sorted((class_folders / "val").rglob("*.jpg"), key=str)
    assert all(row["label"] == Path(row["path"]).parent.name for row in rows)
    assert all(
        sum(float(row[f"probability of {name}"]) for name in ("blue", "green", "red")) == pytest.approx(1, abs=1e-5)
        for row in rows
    )


def test_checkpoint_lies_between_defaults_and_configs(
    run: Callable[..., Path], config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = run(
        "fit", "--model.head.hidden", "[8]", "--model.backbone_lr_ratio", "0.5", "--model.optimizer.lr", "0.3"
    )
    caplog.clear()
    resumed = run(
        "fit",
        "--ckpt_path",
        str(trained / "last.ckpt"),
        "--trainer.max_epochs",
        "2",
        "--model.backbone_lr_ratio",
        "0.2",
    )
    said = caplog.text
    init_args = hyperparameters(resumed)
    assert init_args["head"]["init_args"]["hidden"] == [8]  # from the checkpoint: neither config nor arguments say
    assert init_args["optimizer"]["init_args"]["lr"] == 0.05  # the config file wins
    assert init_args["backbone_lr_ratio"] == 0.2  # the argument wins
    assert "model.backbone_lr_ratio: 0.5 in the checkpoint, 0.2 from now on." in said
    assert "model.optimizer.lr: 0.3 in the checkpoint, 0.05 from now on." in said
    assert "hidden" not in said


def resolved(capsys: pytest.CaptureFixture, *args: str) -> dict[str, Any]:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", *args, "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


def test_another_class_does_not_get_the_options_of_the_one_before(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "table.yaml").write_text("data: {dataset: {class_path: CsvTable, init_args: {path: t.csv}}}")
    given = ["-c", str(config), "--model.optimizer", "Adam", "--model.head.loss", "Focal", "--model.schedule", "Step"]
    for more in (["-c", str(tmp_path / "table.yaml")], ["--data.dataset", "CsvTable", "--data.dataset.path", "t.csv"]):
        found = resolved(capsys, *given, *more)
        assert found["data"]["dataset"]["init_args"].items() >= {"path": "t.csv", "root": None}.items()
        assert found["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.001  # of Adam
        assert found["model"]["init_args"]["backbone"]["name"] == "test_resnet"
    again = resolved(capsys, *given[:2], "--data.dataset", "visiontasks.data.ImageFolder", "--model.optimizer", "SGD")
    assert again["data"]["dataset"]["init_args"]["root"] == str(tmp_path / "colors")
    assert again["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.05
    task = resolved(capsys, *given[:2], "--model", "MultilabelTask")["model"]["init_args"]
    assert (task["backbone"]["name"], task["optimizer"]["init_args"]["lr"]) == ("test_resnet", 0.05)
    message = error_of(capsys, "fit", *given[:2], "--data.dataset.root", "x", "--data.dataset", "CsvTable")
    assert "--data.dataset: give it before --data.dataset.root" in message


def test_last_is_the_last_epoch_whether_it_was_better_or_not(class_folders: Path, tmp_path: Path) -> None:
    arguments = f"""
        fit --trainer.accelerator cpu --trainer.max_epochs 3 --trainer.logger false
        --trainer.default_root_dir {tmp_path} --model ClassificationTask --model.backbone.name test_resnet
        --model.backbone.pretrained false --model.optimizer.lr 1e-12 --data.dataset ImageFolder
        --data.dataset.root {class_folders} --data.image_size 32 --data.augment none
    """
    main(arguments.split())
    epochs = {path.stem: torch.load(path, weights_only=True)["epoch"] for path in tmp_path.rglob("*.ckpt")}
    assert epochs["last"] == 2
    assert set(epochs) == {"best", "last"}


def test_early_stopping_watches_the_tasks_own_metric(run: Callable[..., Path]) -> None:
    directory = run("fit", "--early_stopping", "1", "--trainer.max_epochs", "30", "--model.optimizer.lr", "0")
    assert read_checkpoint(directory / "last.ckpt")["epoch"] < 5


def missing_in_wandb(directory: Path, *words: bytes) -> list[bytes]:
    """The words that the offline log of a run does not hold; W&B's own process may still be writing it."""
    wandb.finish()
    (log,) = directory.glob("wandb/offline-run-*/run-*.wandb")
    end = time.monotonic() + 30
    while missing := [word for word in words if word not in log.read_bytes()]:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return missing


def test_wandb_is_offline_and_gets_the_resolved_config(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_PROJECT", "project-of-mine")
    monkeypatch.setenv("SOME_TOKEN", "canary-1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set_with_secrets.py").write_text(SET_WITH_SECRETS)
    text = config.read_text().replace("ImageFolder", "set_with_secrets.SecretFolder")
    config.write_text(text.replace("{root: ", "{password: canary-2, root: "))
    secrets = ["--data.dataset.token=canary-3", "--data.dataset.address", "https://me:canary-4@host/x"]
    own = ["--imports", "set_with_secrets", *secrets]
    args = ["fit", "-c", str(config), *own, "--trainer.default_root_dir", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["visiontasks", *args])
    main(args)
    (directory,) = (tmp_path / "runs" / "colors").iterdir()
    assert (directory / "metrics.csv").exists()
    assert missing_in_wandb(directory, b"test_resnet", b"val/accuracy", b"project-of-mine") == []
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert [path for path in files if b"canary" in path.read_bytes()] == []
    saved = yaml.safe_load((directory / "config.yaml").read_text())["data"]["dataset"]["init_args"]
    assert [saved[name] for name in ("token", "password", "address")] == [*["REDACTED"] * 2, "https://REDACTED@host/x"]


def test_wandb_gets_the_best_checkpoint_when_asked_and_what_a_test_shows(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    artifact = "{class_path: BestCheckpointArtifact, init_args: {name: colors, aliases: [production]}}"
    root = ["--trainer.default_root_dir", str(tmp_path / "runs")]
    main(["fit", "-c", str(config), *root, "--trainer.callbacks", f"[{artifact}]"])
    (directory,) = (tmp_path / "runs" / "colors").iterdir()
    assert missing_in_wandb(directory, b"colors", b"production", b"best.ckpt", b"val/accuracy") == []
    main(["test", "-c", str(config), *root, "--ckpt_path", str(directory / "best.ckpt")])
    (tested,) = (path for path in (tmp_path / "runs" / "colors").iterdir() if path != directory)
    assert missing_in_wandb(tested, b"test/confusion", b"test/per_class", b"test/panels") == []
    assert {"test_confusion.png", "test_confusion.csv", "test_per_class.csv", "test_panels.png"} <= {
        path.name for path in tested.iterdir()
    }


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--data.batchsize", "3"], "Did you mean `--data.batch_size 3`?"),
        (["--data.dataset", "ImagFolder"], "Did you mean 'ImageFolder'?"),
        (["--model", "Clasification"], "Did you mean 'ClassificationTask'?"),
        (["--model.backbone.nam", "resnet18"], "Did you mean 'backbone.name'?"),
        (["--model.backbone.name", "resnet81"], "did you mean 'resnet18'?"),
        (["--model.head.pol", "max"], "Did you mean 'pool'?"),
        (["--data.augment", "lihgt"], "Did you mean 'light'?"),
        (["--data.augment", "[{class_path: HorizontalFlop}]"], "did you mean 'HorizontalFlip'?"),
        (
            ["--data.image_size", "large"],
            r'"data.image_size":(.|\n)*Expected a <class \'int\'>(.|\n)*Given value: large',
        ),
        (["--data.dataset.root", "nowhere"], "nowhere: no such folder"),
        (["--model.weights", "nothing.ckpt"], "nothing.ckpt: no such checkpoint"),
        (["--ckpt_path", "nothing.ckpt"], "nothing.ckpt: no such checkpoint"),
        (["-c", "missing.yaml"], r"missing.yaml: no such file"),
    ],
)
def test_mistakes_in_arguments_are_named_with_the_nearest_right_one(
    config: Path, capsys: pytest.CaptureFixture, tmp_path: Path, args: list[str], expected: str
) -> None:
    message = error_of(capsys, "fit", "-c", str(config), "--trainer.default_root_dir", str(tmp_path), *args)
    assert expected in message or re.search(expected, message)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("image_size:", "imagesize:", "Did you mean 'data.image_size'?"),
        ("root:", "rooot:", "Did you mean 'root'?"),
        ("data:", "trainer: {}\ndata:", "the key 'trainer' appears twice"),
        ("\n  dataset: {class_path", " shapes.yaml\ndata.dataset: {class_path", "would be dropped"),
    ],
)
def test_mistakes_in_a_config_are_named(
    config: Path, capsys: pytest.CaptureFixture, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    text = config.read_text().replace(old, new)
    config.write_text(text.split("\n  image_size")[0] if "shapes.yaml" in new else text)
    message = error_of(capsys, "fit", "-c", str(config), "--trainer.default_root_dir", str(tmp_path))
    assert expected in message


def test_mistakes_in_the_data_are_named(
    config: Path, class_folders: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    broken = class_folders / "train" / "red" / "broken.jpg"
    broken.write_bytes(next((class_folders / "train" / "red").iterdir()).read_bytes()[:300])
    for workers in ("0", "1"):
        args = ["--trainer.logger", "false", "--trainer.default_root_dir", str(tmp_path), "--data.num_workers", workers]
        message = error_of(capsys, "fit", "-c", str(config), *args)
        assert message.startswith(f"error: {broken}: broken or truncated image")
        assert "Traceback" not in message


@pytest.mark.parametrize(
    "command", ["predict", "evaluate", "export", "detect", "study", "inspect", "inspect layers", "fit"]
)
def test_help_imports_nothing_heavy(command: str) -> None:
    code = f"""
import sys
from visiontasks.cli import main
try:
    main({[*command.split(), "--help"]})
except SystemExit as stop:
    print(*(stop.code, *sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code, *modules = run.stdout.splitlines()[-1].split()
    assert code == "0"
    assert not {"torch", "lightning", "timm", "numpy", "cv2", "albumentations", "jsonargparse"} & {*modules}


def test_the_module_of_the_command_line_runs_without_a_warning() -> None:
    args = [sys.executable, "-m", "visiontasks.cli", "--version"]
    run = subprocess.run(args, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == (f"{visiontasks.__version__}\n", "")


def test_the_help_of_a_fit_leads_to_that_of_every_key(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help"])
    short = capsys.readouterr().out
    assert "--help_all" in short
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help-all"])
    every = capsys.readouterr().out
    named = [*re.findall(r"--((?:data|trainer)\.\w+)", short), "early_stopping", "seed_everything", "ckpt_path"]
    assert [name for name in named if f"--{name}" not in every] == []


def test_dashes_of_options_count_as_underscores(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    args = ["predict", "no.ckpt", "no-such-image.png", "--output", str(tmp_path), "--batch-size=0", "--skip-errors"]
    assert "argument --batch_size: 0 must be 1 or more" in error_of(capsys, *args)


def test_unknown_command_suggests(capsys: pytest.CaptureFixture) -> None:
    assert "did you mean 'fit'?" in error_of(capsys, "fitt")


def test_predict_says_what_it_cannot_read(
    run: Callable[..., Path], class_folders: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    checkpoint = str(run("probe") / "last.ckpt")
    (tmp_path / "empty").mkdir()
    output = ["--output", str(tmp_path / "out")]
    assert "no images" in error_of(capsys, "predict", checkpoint, str(tmp_path / "empty"), *output)
    assert "no such file" in error_of(capsys, "predict", checkpoint, "nothing.jpg", *output)
    assert "not a checkpoint" in error_of(capsys, "predict", str(_foreign(tmp_path)), str(class_folders), *output)
    assert not (tmp_path / "out").exists()


def _foreign(tmp_path: Path) -> Path:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    return tmp_path / "foreign.ckpt"


def test_checkpoint_of_other_classes_is_refused(
    run: Callable[..., Path], class_folders: Path, capsys: pytest.CaptureFixture
) -> None:
    trained = run("fit")
    for split in ("train", "val", "test"):
        (class_folders / split / "red").rename(class_folders / split / "azure")
    with pytest.raises(SystemExit):
        run("test", "--ckpt_path", str(trained / "best.ckpt"))
    assert "class_names: the checkpoint has ['blue', 'green', 'red']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("backbone: {name: test_efficientnet", "they are those of test_resnet. Use the config"),
        ("head: {hidden: [4]}\n    backbone: {name: test_resnet", 'Missing key(s) in state_dict: "heads.label.hidden'),
    ],
)
def test_checkpoint_of_another_network_is_refused_in_one_line(
    run: Callable[..., Path], config: Path, capsys: pytest.CaptureFixture, new: str, expected: str
) -> None:
    file = str(run("probe") / "last.ckpt")
    config.write_text(config.read_text().replace("backbone: {name: test_resnet", new))
    for command in ("test", "fit"):
        with pytest.raises(SystemExit, match="2"):
            run(command, "--ckpt_path", file)
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert line.startswith(f"error: {file}: its weights do not fit the model of the config: {expected}")


def test_the_config_of_a_run_runs_again(run: Callable[..., Path], tmp_path: Path) -> None:
    first = run("fit", "--early_stopping", "3")
    resumed = run("fit", "--ckpt_path", str(first / "last.ckpt"), "--trainer.max_epochs", "2")
    quiet = ["--trainer.default_root_dir", str(tmp_path / "again")]
    main(["fit", "-c", str(resumed / "config.yaml"), *quiet])
    main(["test", "-c", str(resumed / "config.yaml"), "--ckpt_path", str(first / "best.ckpt"), *quiet])
    assert len(list((tmp_path / "again" / "config").iterdir())) == 2


def test_what_needs_a_checkpoint_says_so(config: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    for command in ("validate", "test"):
        assert "give --ckpt_path CHECKPOINT" in error_of(capsys, command, "-c", str(config))
    config.write_text(config.read_text() + "ckpt_path: some.ckpt\n")
    assert "give it as an argument" in error_of(capsys, "fit", "-c", str(config))


def test_predict_makes_its_folder_before_it_works(
    run: Callable[..., Path], class_folders: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    checkpoint = str(run("probe") / "last.ckpt")
    (tmp_path / "file").touch()
    message = error_of(capsys, "predict", checkpoint, str(class_folders), "--output", str(tmp_path / "file"))
    assert "file: the folder cannot be written to" in message


def test_a_key_counts_as_asking_for_wandb_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from visiontasks.callbacks.wandb import has_key

    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not has_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    assert has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_key()
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert has_key()


@pytest.mark.slow
def test_wandb_server_that_does_not_answer_leaves_an_offline_run(config: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    env |= {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    train = [sys.executable, str(Path(__file__).parents[1] / "train.py"), "fit", "-c", str(config)]
    subprocess.run([*train, "--trainer.default_root_dir", str(tmp_path / "runs")], env=env, check=True, timeout=200)
    (directory,) = (tmp_path / "runs" / "colors").iterdir()
    assert (directory / "last.ckpt").exists()
    assert list(directory.glob("wandb/offline-run-*"))
