"""Runs of earlier versions still predict, resume and export.

`old_runs/` holds three short runs on Shapes, made before the modules were moved, and what they predicted.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import visiontasks
from visiontasks.cli import main
from visiontasks.core.moved import MOVED, current, current_option
from visiontasks.core.serialize import public_path
from visiontasks.data import Shapes
from visiontasks.tasks.checkpoint import read_checkpoint
from visiontasks.tasks.restore import check_task

RUNS = Path(__file__).parent / "old_runs"
VAL_LOSS = {"all": 3.3808131217956543, "label": 0.8065581321716309, "box": 1.1342542171478271}  # after a third epoch


@pytest.fixture(params=VAL_LOSS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return unpack(request.param, tmp_path)


def unpack(name: str, tmp_path: Path) -> Path:
    run = tmp_path / name
    run.mkdir()
    (run / "config.yaml").write_bytes((RUNS / name / "config.yaml").read_bytes())
    (run / "last.ckpt").write_bytes(gzip.decompress((RUNS / name / "last.ckpt.gz").read_bytes()))
    return run


def class_paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["class_path"]] if "class_path" in value else []
        value = list(value.values())
    for item in value if isinstance(value, list) else []:
        yield from class_paths(item)


def test_an_old_run_predicts_as_before_and_says_nothing(run: Path, capfd: pytest.CaptureFixture) -> None:
    predictor = visiontasks.load(str(run / "last.ckpt"), device="cpu")
    images = [Shapes("test", count=16, size=size).image(i)[: size - 5 * i] for i, size in enumerate((32, 48, 64))]
    predictions = predictor.predict([np.ascontiguousarray(image) for image in images])
    expected = np.load(RUNS / "expected.npz")
    names = [name.split("/") for name in expected.files if name.startswith(f"{run.name}/")]
    assert names
    for _, number, key in names:
        before, found = expected[f"{run.name}/{number}/{key}"], predictions[int(number)][key]
        np.testing.assert_allclose(found, before, atol=1e-6)
        assert found.argmax() == before.argmax()
    assert capfd.readouterr() == ("", "")


def test_an_old_run_resumes(run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(run)
    old = check_task(read_checkpoint("last.ckpt")["hyper_parameters"])
    main(["fit", "-c", "config.yaml", "--ckpt_path", "last.ckpt", "--trainer.max_epochs", "3"])
    resumed = Path()  # it goes on in its own directory
    rows = [line.split(",") for line in (resumed / "metrics.csv").read_text().splitlines()]
    losses = [row[rows[0].index("val/loss")] for row in rows[1:]]
    assert [float(loss) for loss in losses if loss] == pytest.approx([VAL_LOSS[run.name]], abs=1e-4)
    assert "from now on" not in capfd.readouterr().err
    content = yaml.safe_load((resumed / "config.yaml").read_text())
    new = read_checkpoint(resumed / "last.ckpt")["hyper_parameters"]
    # nothing has an old name any more, and the config has the names of the checkpoint
    assert set(class_paths(new)) == set(class_paths(old))
    assert set(class_paths(content["model"])) == set(class_paths(new)) - {"visiontasks.models.Backbone"}


def test_an_old_run_exports(tmp_path: Path) -> None:
    main(["export", str(unpack("box", tmp_path) / "last.ckpt"), "--images", "8", "--format", "pt2"])
    assert (tmp_path / "box/last.pt2").is_file()


def test_every_old_name_leads_to_a_public_class() -> None:
    wrong = []
    for old, new in MOVED.items():
        module, _, name = new.rpartition(".")
        if public_path(getattr(import_module(module), name)) != new:
            wrong.append((old, new))
    assert wrong == []


def test_old_options_are_renamed_with_a_note(capsys: pytest.CaptureFixture) -> None:
    assert current({"dataset": {"init_args": {"colours": [[0, 0, 0]]}}}) == (
        {"dataset": {"init_args": {"colors": [[0, 0, 0]]}}}
    )
    assert "`colours` is called `colors` now" in capsys.readouterr().err
    assert current_option("--data.dataset.colours=[[0, 0, 0]]") == "--data.dataset.colors=[[0, 0, 0]]"
    assert current_option("--skip-errors") == "--skip_errors"
    assert current_option("some-file.png") == "some-file.png"
    assert sys.modules.get("visiontasks.schedules") is None
