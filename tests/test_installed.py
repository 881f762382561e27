"""The package as it is installed: the wheel alone, in an empty directory, on every Python that is supported."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from visiontasks.cli import main
from visiontasks.cli.configs import find_config, installed

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Runs a command with nothing of this process's environment that could bring in this folder."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    found = subprocess.run([*map(str, command)], cwd=cwd, env=kept | environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "visiontasks", "configs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_all_configs_and_trains_by_their_short_names(wheel: Path, tmp_path: Path) -> None:
    package, empty = tmp_path / "package", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(package)
    empty.mkdir()
    here = {file.relative_to(ROOT / "configs").as_posix() for file in (ROOT / "configs").rglob("*.yaml")}
    there = package / "visiontasks/configs"
    assert {file.relative_to(there).as_posix() for file in there.rglob("*.yaml")} == here
    command = [sys.executable, "-P", "-m", "visiontasks.cli"]
    listed = call(*command, "configs", cwd=empty, PYTHONPATH=str(package))
    assert "quickstart.yaml" in listed
    assert "classification/folder.yaml" in listed
    short = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
    small = ["--data.dataset.count", "20", "--data.batch_size", "4", "--trainer.logger", "false"]
    call(*command, "fit", "-c", "quickstart.yaml", *short, *small, cwd=empty, PYTHONPATH=str(package))
    (run,) = empty.glob("runs/quickstart/*")
    assert (run / "best.ckpt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_alone_on_each_python(version: str, wheel: Path, tmp_path: Path) -> None:
    if not (uv := shutil.which("uv")) or subprocess.run([uv, "python", "find", version], cwd=tmp_path).returncode:
        pytest.skip(f"no uv or no Python {version}")
    call(uv, "venv", "--python", version, "venv", cwd=tmp_path)
    call(uv, "pip", "install", "--python", "venv/bin/python", f"{wheel}[export]", cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    visiontasks = tmp_path / "venv/bin/visiontasks"
    call(visiontasks, "fit", "-c", "quickstart.yaml", cwd=empty)
    (run,) = empty.glob("runs/quickstart/*")
    with (run / "metrics.csv").open() as file:
        accuracy = [float(row["val/accuracy"]) for row in csv.DictReader(file) if row["val/accuracy"]]
    assert accuracy[-1] >= 0.95
    call(visiontasks, "export", run / "best.ckpt", cwd=empty)
    for number in range(20):
        (photo := empty / "photos" / "ab"[number % 2] / f"{number}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 10, 255 * (number % 2), 0)).save(photo)
    said = call(visiontasks, "init", "photos", cwd=empty)
    assert "Found: class folders: 2 classes (a, b) (likely)." in said
    assert "It will take about" in said
    call(visiontasks, "fit", "-c", "photos.yaml", "--trainer.max_epochs", "1", cwd=empty)
    assert len([*empty.glob("runs/photos/*/best.ckpt")]) == 1
    shutil.copy(ROOT / "docs/predictions.png", empty / "photo.png")
    call(visiontasks, "predict", run / "best.onnx", "photo.png", "--output", "out", cwd=empty)
    assert (empty / "out/predictions.csv").is_file()


def test_a_config_is_found_by_its_short_name_and_a_file_of_the_user_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = installed() / "classification/folder.yaml"
    for name in ("classification/folder.yaml", "classification/folder", "configs/classification/folder.yaml"):
        assert find_config(name).samefile(expected), name
    for name in ("nothing.yaml", "../configs/quickstart.yaml", "", "classification", "/quickstart.yaml"):
        assert find_config(name) == Path(name), name
    (tmp_path / "quickstart.yaml").write_text("own")
    assert find_config("quickstart.yaml").read_text() == "own"


def test_a_config_is_copied_with_what_it_includes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["configs", "--copy", "quickstart.yaml"])
    assert capsys.readouterr().out == "quickstart.yaml\n"
    text = Path("quickstart.yaml").read_text()
    assert text.startswith("# visiontasks fit -c configs/quickstart.yaml")
    assert "  dataset:\n    class_path: Shapes" in text
    Path("quickstart.yaml").write_text("own")
    with pytest.raises(SystemExit):
        main(["configs", "--copy", "quickstart.yaml"])
    assert "quickstart.yaml: a file of this name is there already" in capsys.readouterr().err
    assert Path("quickstart.yaml").read_text() == "own"
    main(["configs", "--copy", "studies/strides"])
    assert capsys.readouterr().out == "strides.yaml\ncifar10_convnet.yaml\n"
    assert "config: cifar10_convnet.yaml\n" in Path("strides.yaml").read_text()
    with pytest.raises(SystemExit):
        main(["configs", "--copy", "../pyproject"])
    assert "no installed config '../pyproject'" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from visiontasks.cli import main; main(['configs'])"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141
