"""Results replace only results, and tables are safe in a spreadsheet."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiontasks.cli import main
from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv, write_csv
from visiontasks.core.outputs import RECORD, OutputFolder, new_results

NAMES = ("table.csv", "masks/[0-9]*_*.png")


def write(folder: OutputFolder, *names: str) -> None:
    for name in names:
        with folder.write(name) as path:
            path.write_text("ours")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_only_what_an_earlier_run_wrote_is_removed(tmp_path: Path) -> None:
    write(OutputFolder(tmp_path), "table.csv", "other.txt", "masks/0_a.png", "masks/1_b.png")
    (tmp_path / "masks/mine.png").touch()
    OutputFolder(tmp_path, *NAMES).clear()
    assert files(tmp_path) == [RECORD, "masks/mine.png", "other.txt"]
    write(OutputFolder(tmp_path, *NAMES), "table.csv", "other.txt", "masks/2_c.png")
    assert files(tmp_path) == [RECORD, "masks/2_c.png", "masks/mine.png", "other.txt", "table.csv"]


def test_new_results_never_replace_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("", "-1", "-2"):
        folder = new_results(tmp_path / "out", "table.csv")
        assert folder.path == tmp_path / f"out{number}"
        write(folder, "table.csv")
    (tmp_path / "out-1/table.csv").unlink()
    assert new_results(tmp_path / "out", "table.csv").path == tmp_path / "out-1"
    monkeypatch.chdir(tmp_path / "out")
    assert new_results(Path(), "table.csv").path == tmp_path / "out-1"
    (tmp_path / "out-1/table.csv").write_text("mine")
    with pytest.raises(InputError, match="no earlier run wrote it"):
        new_results(Path(), "table.csv")


def edit(path: Path) -> None:
    path.write_text("mine")


def touch_later(path: Path) -> None:
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [edit, touch_later])
@pytest.mark.parametrize("name", ["table.csv", "masks/0_a.png"])
def test_what_the_user_changed_is_the_users(name: str, change: Callable[[Path], None], tmp_path: Path) -> None:
    write(OutputFolder(tmp_path), "table.csv", "masks/0_a.png", "masks/1_b.png")
    change(tmp_path / name)
    before = files(tmp_path)
    with pytest.raises(InputError, match=f"{name}: would be replaced, but no earlier run wrote it, or it was changed"):
        OutputFolder(tmp_path, *NAMES)
    with pytest.raises(InputError, match=name):
        write(OutputFolder(tmp_path), name)
    assert files(tmp_path) == before


def test_a_file_that_was_not_finished_is_not_recorded_as_written(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, *NAMES)
    with pytest.raises(ZeroDivisionError), folder.write("table.csv"):
        _ = 1 / 0
    assert files(tmp_path) == []
    with pytest.raises(ZeroDivisionError), folder.write_lines("table.csv") as file:
        _ = file.write("a line\n") / 0
    assert (tmp_path / "table.csv.part").read_text() == "a line\n"
    assert files(tmp_path) == ["table.csv.part"]


@pytest.mark.parametrize("content", ["{", "[1, 2, 3]", "3", "\x00", '["../../a", [0, 0]]'])
def test_a_record_cannot_name_files_elsewhere(content: str, tmp_path: Path) -> None:
    out = tmp_path / "a/out"
    out.mkdir(parents=True)
    (tmp_path / "a.png").touch()
    (out / RECORD).write_text(content)
    if ".." in content:
        OutputFolder(out, "*.png").clear()
    else:
        with pytest.raises(InputError, match=r"written\.jsonl: not the record of written files"):
            OutputFolder(out, "*.png")
    assert (tmp_path / "a.png").exists()


def foreign(folder: Path, name: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    return folder / name


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("out/predictions.csv", ["predict", "all", "PHOTO", "--output", "out"]),
        ("out/masks/00000_00.png", ["predict", "all", "PHOTO", "--output", "out"]),
        ("out/overlays/7_mine.png", ["predict", "all", "PHOTO", "--output", "out"]),
        ("out/skipped.csv", ["predict", "all", "PHOTO", "--output", "out"]),
        ("out/evaluation.json", ["evaluate", "label", "-c", "CONFIG", "--output", "out"]),
        ("out.onnx", ["export", "label", "--samples", "PHOTO", "--output", "out.onnx"]),
        ("out.onnx.sha256", ["export", "label", "--samples", "PHOTO", "--output", "out.onnx"]),
        ("model/inspect/filters-net.png", ["inspect", "filters", "COPY"]),
        ("model/inspect/layers.csv", ["inspect", "layers", "COPY"]),
        ("model/inspect/adversarial/00000_00.png", ["inspect", "attack", "COPY", "PHOTO"]),
    ],
)
def test_no_command_replaces_a_file_of_the_user(
    file: str, command: list[str], shapes_checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    label = shapes_checkpoints["label"]
    path = foreign(tmp_path, file)
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model/last.ckpt").write_bytes(label.read_bytes())
    places = {"PHOTO": shapes_checkpoints["photos"] / "00.png", "CONFIG": label.with_name("config.yaml")}
    places |= {"COPY": Path("model/last.ckpt"), "all": shapes_checkpoints["all"], "label": label}
    with pytest.raises(SystemExit) as stopped:
        main([str(places.get(word, word)) for word in command])
    assert stopped.value.code == 2
    assert f"{file}: would be replaced, but no earlier run wrote it" in capsys.readouterr().err
    assert path.read_text() == "mine"


TEXTS = ["=1+1", "+1a", "-x", "@a", "\t=a", "\rb", " =a", "\n=a", "-", "'=a", "''=a", "' @a", "it's", "'b'", "a=b"]
NUMBERS = [-1, -0.5, float("-inf"), "-3", "+0.25", "-1e-3"]


def test_texts_are_no_formulas_and_numbers_stay_numbers(tmp_path: Path) -> None:
    rows = [{"text": text, "=name": 1} for text in TEXTS] + [{"text": number, "=name": -1} for number in NUMBERS]
    write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["text", "'=name"]
    cells = [line[0] for line in lines]
    texts = cells[: len(TEXTS)]
    assert [cell for cell in texts if cell.lstrip(" \n")[:1] in (*"=+-@\t\r",) and cell] == []
    assert cells[len(TEXTS) :] == [str(number) for number in NUMBERS]
    back = read_csv(tmp_path / "a.csv")
    assert [row.get("text", "") for row in back] == [*TEXTS, *map(str, NUMBERS)]
    assert {row["=name"] for row in back} == {"1", "-1"}
    write_csv(tmp_path / "b.csv", back)
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
