"""What the terminal shows: the summary, the line of progress, the tables, and nothing of the libraries."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.callbacks import FreezeBackbone, Results
from visiontasks.callbacks.progress import ProgressLine
from visiontasks.callbacks.rates import LRFinder
from visiontasks.callbacks.summary import Summary
from visiontasks.cli import main
from visiontasks.cli.chatter import is_shown, set_chatter
from visiontasks.cli.written import print_written
from visiontasks.core.live import loading
from visiontasks.core.progress import duration
from visiontasks.core.tables import print_pairs, print_table, some
from visiontasks.data import Shapes, VisionDataModule
from visiontasks.models import Backbone
from visiontasks.predict.tally import Tally
from visiontasks.targets.sample import record_of
from visiontasks.tasks import ClassificationTask

ROOT = Path(__file__).parents[1]
SHAPES = ("circle", "square", "triangle", "star")


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    """Fits a tiny network to 16 shapes, 4 batches per epoch, with these callbacks."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*callbacks: Callback, **options: Any) -> Trainer:
        data = VisionDataModule(partial(Shapes, count=16, size=16), image_size=16, augment="none", batch_size=4)
        task = ClassificationTask(data.spec, Backbone("test_resnet", pretrained=False))
        options = {"max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_checkpointing": False} | options
        quiet = {"enable_model_summary": False, "num_sanity_val_steps": 0, "default_root_dir": tmp_path}
        trainer = Trainer(callbacks=list(callbacks), **quiet, **options)
        trainer.fit(task, data)
        return trainer

    return run


# The libraries


def test_lightning_is_silent_and_we_are_not(caplog: pytest.LogCaptureFixture) -> None:
    shared = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    loggers = [shared, *map(logging.getLogger, ("lightning.pytorch", "lightning.fabric"))]
    before, filters = [logger.level for logger in loggers], shared.filters[:]
    try:
        for verbose in (False, True, False):
            set_chatter(verbose)
            assert is_shown() is verbose
            caplog.clear()
            with caplog.at_level(logging.INFO):
                trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
                rank_zero_info("ours")
            assert "ours" in caplog.messages
            assert any("GPU available" in message for message in caplog.messages) is verbose
            assert trainer
    finally:
        shared.filters = filters
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def readme_block() -> list[str]:
    """The output of the quickstart in README.md."""
    (block,) = re.findall(r"^```text\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return block.splitlines()


def masked(line: str) -> str:
    """A line without numbers, times and the order of classes."""
    line = re.sub("|".join(SHAPES), "SHAPE", line)
    line = re.sub(r"\d{8}-\d{6}", "TIME", line)
    line = re.sub(r"[ ─]+", " ", re.sub(r"\d+(\.\d+)?(e[+-]\d+)?", "N", line))
    line = re.sub(r"\bN (s|min|h)\b( N min)?", "TIME", line)
    return re.sub(r"^SHAPE N( N)+", "SHAPE N", line).rstrip()  # a class that is never predicted has no precision


def test_a_fit_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The quickstart, with fewer and smaller images; stdout and stderr are one file."""
    small = ["--data.dataset.count", "40", "--data.image_size", "32", "--data.batch_size", "4"]
    command = [sys.executable, "-m", "visiontasks.cli", "fit", "-c", str(ROOT / "configs/quickstart.yaml"), *small]
    env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "NETRC": str(tmp_path / "none")}
    run = subprocess.run(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stdout
    assert [masked(line) for line in lines] == [masked(line) for line in readme_block()]
    assert len(lines) <= 40
    assert max(len(line.rstrip()) for line in [*lines, *readme_block()]) <= 100
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", run.stdout)


# The first line


def typed(*args: str) -> str:
    """Runs a command whose stderr is a terminal, and returns what is written there."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    reader, writer = pty.openpty()
    command = [sys.executable, "-X", "importtime", "-m", "visiontasks.cli", *args]
    run = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=writer, stdin=subprocess.DEVNULL)
    os.close(writer)
    parts = []
    with suppress(OSError):  # which a terminal raises at the end
        while part := os.read(reader, 1 << 16):
            parts.append(part)
    os.close(reader)
    run.wait()
    return b"".join(parts).decode()


@pytest.mark.slow
def test_a_terminal_shows_at_once_that_a_fit_has_begun(tmp_path: Path) -> None:
    config = str(ROOT / "configs/classification/folder.yaml")
    err = typed("fit", "-c", config, "--data.dataset.root", str(tmp_path))  # which has no images
    before, shown, after = err.partition("Loading ...\r")
    assert shown
    assert not re.search(r"\| +(torch|lightning|rich|numpy)\r?$", before, re.MULTILINE)
    assert re.search(r"\| +torch\r?$", after, re.MULTILINE)
    assert "Loading" not in after
    assert re.search(r"\r\x1b\[Kerror: ", after)


@pytest.mark.parametrize("args", [["fit", "--help"], ["fit", "-c", "none.yaml"], ["fit"], ["init", "none"]])
def test_help_and_mistakes_have_no_first_line(args: list[str]) -> None:
    assert "Loading" not in typed(*args)


@pytest.mark.parametrize("case", [{"LOCAL_RANK": "1"}, {"RANK": "3"}, {"SLURM_PROCID": "1"}, {"TERM": "dumb"}, {}])
def test_a_pipe_and_other_ranks_have_no_first_line(case: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in case.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", stream := Terminal() if case else io.StringIO())
    with loading():
        pass
    assert stream.getvalue() == ""


def test_the_summary_and_tables_replace_the_first_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for show in (lambda: print_pairs([("a", "b")]), lambda: print_table("a", ["b"], [])):
        monkeypatch.setattr(sys, "stderr", stream := Terminal())
        monkeypatch.setenv("TERM", "xterm")
        with loading():
            assert stream.getvalue() == "Loading ...\r"
            show()
            assert stream.getvalue() == "Loading ...\r\r\x1b[K"
        assert stream.getvalue() == "Loading ...\r\r\x1b[K"  # once


# The line of progress


def test_a_file_gets_a_line_when_the_pace_is_known_and_one_per_validation(
    fit: Callable[..., Trainer], capsys: pytest.CaptureFixture
) -> None:
    fit(ProgressLine(), max_epochs=3, check_val_every_n_epoch=2)
    told = capsys.readouterr().err.splitlines()
    patterns = (
        r"epoch 2/3    50%   \d+ s left   train/loss \d\.\d{4}",
        r"epoch 2/3    67%   \d+ s left   train/loss \d\.\d{4}   val/accuracy 0\.\d{4} \(baseline 0\.\d{4}\)",
    )
    assert len(told) == len(patterns)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, told, strict=True)), told


def test_a_fit_without_epochs_counts_steps(fit: Callable[..., Trainer], capsys: pytest.CaptureFixture) -> None:
    fit(ProgressLine(), max_epochs=-1, max_steps=4)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"step 4/4   100%   \d+ s in all   train/loss", line)


def test_a_terminal_has_one_line_which_is_erased_at_the_end(
    fit: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiontasks.callbacks.progress.INTERVAL", 0)
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    fit(ProgressLine())
    text = stream.getvalue()
    assert "\n" not in text
    assert text.endswith("\r\x1b[K")
    parts = [part.rstrip("\r") for part in text.split("\r\x1b[K")]
    assert any(re.match(r"epoch 1/2    12%   \.\.\.   train/loss", part) for part in parts)
    assert any(re.match(r"epoch 1/2    50%   validation 1/1", part) for part in parts)
    assert any(re.match(r"epoch 2/2   100%   \d s in all   train/loss .* \(baseline", part) for part in parts)
    assert max(map(len, parts)) < 100


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_learning_rates_are_counted_in_the_same_line(
    is_terminal: bool, fit: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiontasks.callbacks.progress.INTERVAL", 0)
    monkeypatch.setattr(sys, "stderr", stream := Terminal() if is_terminal else io.StringIO())
    fit(ProgressLine(), LRFinder(str(tmp_path), 14), max_epochs=-1, max_steps=14, check_val_every_n_epoch=14)
    lines = [line.rstrip("\r") for line in stream.getvalue().split("\r\x1b[K")]
    shown = [line for line in lines if "learning rate" in line]
    if is_terminal:
        assert shown[0] == "learning rate 1/14   ..."
        assert re.fullmatch(r"learning rate 12/14   \d s left", shown[11])
        assert len(shown) == 14
        assert lines[-1] == "" or "falls fastest" in lines[-1]
    else:
        assert shown == []
    assert "Finding" not in stream.getvalue()


def test_a_fit_that_fails_leaves_the_terminal_clean(
    fit: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise SystemExit(130)

    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with pytest.raises(SystemExit):
        fit(ProgressLine(), Broken())
    assert stream.getvalue().count("epoch") == 1
    assert stream.getvalue().endswith("\r\x1b[K")


def test_what_is_logged_replaces_the_line_and_keeps_no_model(
    fit: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Talking(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
            line._draw(lambda: "line")
            handler.handle(logging.makeLogRecord({"msg": "text"}))

    monkeypatch.setattr("visiontasks.callbacks.progress.INTERVAL", 0)
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setattr("visiontasks.callbacks.progress.HANDLERS", [handler := logging.StreamHandler(stream)])
    line = ProgressLine()
    fit(line, Talking(), max_epochs=1)
    assert stream.getvalue().endswith("\r\x1b[Kline\r\r\x1b[Ktext\n")
    assert handler.filters == []


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7500, "2 h 5 min")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# The summary


def test_the_summary_names_data_classes_and_model(
    fit: Callable[..., Trainer], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    trainer = fit(Summary("runs/here"), FreezeBackbone(epochs=1, stages=2))
    lines = capsys.readouterr().out.splitlines()[:5]
    parameters = sum(parameter.numel() for parameter in trainer.lightning_module.parameters())
    backbone = sum(parameter.numel() for parameter in trainer.lightning_module.backbone.parameters())
    share = f"backbone ({backbone / parameters:.1%})"
    frozen = "frozen for the first epoch, then its last 2 stages train"
    assert lines == [
        "task     ClassificationTask (label), best by val/accuracy",
        "data     16 training, 4 validation images, 16x16 pixels, batches of 4",
        "classes  label: circle 25%, square 25%, triangle 25%, star 25%",
        f"model    test_resnet, {parameters / 1e6:.3g} million parameters, {share}: {frozen}",
        "run      runs/here (resume: --ckpt_path auto)",
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": -1}, "frozen"),
        ({"epochs": 3}, "frozen for the first 3 epochs"),
        ({"epochs": 0, "stages": 1}, "only its last stage trains"),
        ({"epochs": 0}, ""),
    ],
)
def test_what_is_frozen_is_said(options: dict[str, int], text: str) -> None:
    assert str(FreezeBackbone(**options)) == text


def test_of_many_classes_the_rarest_are_visible() -> None:
    parts = [f"class{number:03}" for number in range(200)]
    line = some(parts)
    assert len(line) <= 84
    assert line.startswith("class000, class001, class002, ... (19")
    assert line.endswith("class198, class199")
    assert some(["long" * 50, "b", "c", "d", "e"]).endswith("c, ... (2 more)")
    assert some(["a", "b"]) == "a, b"


# The tables


def test_of_many_classes_the_worst_are_shown_and_the_file_of_all_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recall = [float("nan"), *np.linspace(1, 0, 12)]
    rows = [{"class": f"[{number}]", "recall": value} for number, value in enumerate(recall)]
    Results(str(tmp_path))._print_classes(rows, "val", "mask_")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mask classes, worst first"
    assert [line.split()[0] for line in lines[3:13]] == [f"[{number}]" for number in range(12, 2, -1)]
    assert f"3 more: {tmp_path / 'val_mask_per_class.csv'}" in lines
    Results(str(tmp_path))._print_classes(rows[:1], "val", "")
    assert capsys.readouterr().out == ""  # of one class, the other table says it all


def test_what_is_unknown_or_a_detail_has_no_row(capsys: pytest.CaptureFixture) -> None:
    figures = {"val/map": 0.5, "val/map_baseline": 0.1, "val/map_small": float("nan"), "val/mar": 0.7, "val/loss": 1.0}
    Results()._print("results", {"last epoch": figures}, {"mar"})
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines() if line.startswith("val/")] == ["val/map", "val/loss"]
    assert re.search(r"val/map +0\.5000 +0\.1000", text)


def test_names_with_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture) -> None:
    print_table("[red]title", ["class", "value"], [["[bold]cat[/x]", "1"], [":dog:", "2"]])
    text = capsys.readouterr().out
    assert all(part in text for part in ("[red]title", "[bold]cat[/x]", ":dog:"))


def test_names_that_do_not_fit_the_encoding_end_no_command() -> None:
    code = "from visiontasks.cli import main; main(['--version'])"
    code += "; from visiontasks.core.tables import print_pairs, print_table"
    code += "; print_pairs([('a', '\\u82b1\\udc80')]); print_table('b', ['\\u82b1'], [['\\udc80']])"
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert r"a  \u82b1\udc80" in run.stdout


def test_only_files_that_exist_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "test_mask_confusion.png").touch()
    print_written(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        f"Run directory: {tmp_path}",
        "  test_mask_confusion.png  which classes are taken for which",
    ]
    (tmp_path / "last.ckpt").touch()
    print_written(tmp_path)
    *_, last = capsys.readouterr().out.splitlines()
    assert last == f"Next: visiontasks predict {tmp_path / 'last.ckpt'} YOUR_PHOTOS --output predictions"


def test_a_test_without_a_test_split_is_about_val(
    class_folders: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    shutil.rmtree(class_folders / "test")
    args = f"""
        --model ClassificationTask --model.backbone.name test_resnet --model.backbone.pretrained false
        --data.dataset ImageFolder --data.dataset.root {class_folders} --data.image_size 32
        --trainer.accelerator cpu --trainer.logger false --trainer.default_root_dir {tmp_path / "runs"}
    """.split()
    main(["fit", *args, "--trainer.max_epochs", "1"])
    (run,) = (tmp_path / "runs").glob("run-*/*")
    first = capfd.readouterr()
    main(["test", *args, "--ckpt_path", str(run / "last.ckpt")])
    said = capfd.readouterr()
    tested = max((tmp_path / "runs").glob("run-*/*"))
    header = (tested / "metrics.csv").read_text().splitlines()[0]
    assert "val/auroc" in header
    assert "test/" not in header
    assert re.search(r"val/accuracy +0\.\d{4} +0\.3333", said.out)
    assert "test/" not in said.out
    assert f"Run directory: {tested}" in said.out
    main(["fit", *args, "--trainer.max_epochs", "2", "--ckpt_path", "auto"])
    again = capfd.readouterr()
    assert again.out.splitlines()[:5] == first.out.splitlines()[:5]


# Predictions


def test_predictions_are_summed_up_by_what_their_target_says() -> None:
    spec = {"class_names": ["cat", "dog"], "mask_names": ["sky", "road"], "labels_names": ["a; b", "c"]}
    spec |= {"value_names": ["age"]}
    box = np.array([1, 2, 3, 4], np.float32)
    tally = Tally(spec)
    for label, mask, labels, age in ((0, 0, [1, 1], 3), (0, 1, [0, 0], 5), (1, 1, [1, 0], 4)):
        objects = {"labels": np.array([1, label, 0]), "scores": np.array([0.9, 0.8, 0.1])}
        objects |= {"boxes": np.tile(box, (3, 1)), "taken": np.array([True, True, False])}
        sample = {"label": label, "score": 0.5, "bbox": box, "mask": np.full((4, 4), mask, np.uint8)}
        sample |= {"objects": objects, "value": np.array([age], np.float32)}
        sample |= {"labels": np.array(labels, np.float32), "labels_probabilities": np.array([0.5, 0.5])}
        tally.add(record_of(sample, spec))
    assert set(tally.lines()) == {
        "label: cat 2, dog 1",
        "objects: dog 4, cat 2",
        "mean share of the pixels: road 66.7%, sky 33.3%",
        "mean: age 4",
    } | {line for line in tally.lines() if line.startswith("labels: ")}


def test_images_without_any_are_counted() -> None:
    tally = Tally({"class_names": ["cat"]})
    for record in ({"label": None, "xmin": None}, {"label": "cat", "xmin": 1.0}, {"label": "cat", "xmin": 2.0}):
        tally.add(record)
    assert tally.lines() == ["label: cat 2, (none) 1"]
    empty = Tally({"class_names": ["cat"]})
    empty.add({"objects": []})
    assert empty.lines() == ["objects: (none)"]
