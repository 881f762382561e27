"""The figures of a model on a split, their intervals, and two models side by side."""

from __future__ import annotations

import csv
import json
import math
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from lightning.pytorch import Trainer

from visiontasks.cli import main
from visiontasks.cli.evaluate import _print
from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.evaluate import bootstrap, count, count_baseline
from visiontasks.evaluate.evaluation import share_interval
from visiontasks.models import Backbone
from visiontasks.predict import Predictor
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets import find_target
from visiontasks.tasks import RegressionTask
from visiontasks.tasks.restore import restore_task


@pytest.mark.parametrize("model", ["label, box and mask", "value"])
def test_figures_are_those_of_the_test_command(model: str, shapes_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    data = open_data(shapes_checkpoints["all"].parent / "config.yaml")
    task: Any = restore_task(str(shapes_checkpoints["all"]))
    if model == "value":
        task = RegressionTask(data.spec, Backbone("test_resnet", False))
        task.heads["value"].setup(data.summary("value"))
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    (expected,) = trainer.test(task, data, verbose=False)
    tables = task.tables()
    counts = count(Predictor(TorchNetwork(task, "cpu")), data.dataset("test"), batch_size=7)
    baseline = count_baseline(counts, data, "test")
    for key, values in counts.items():
        kind = find_target(key)
        found, trivial = kind.figures(values), kind.figures(baseline[key])
        assert next(iter(found)) == kind.monitor
        assert trivial[kind.monitor] == pytest.approx(expected[f"test/{kind.monitor}_baseline"], abs=1e-5)
        for name, value in found.items():
            if not name.startswith("class/"):
                assert value == pytest.approx(expected[f"test/{name}"], abs=1e-4), name
            elif name.removeprefix("class/") in (known := tables[key]):
                own = known[name.removeprefix("class/")]
                np.testing.assert_allclose(np.nan_to_num(value), np.nan_to_num(own), atol=1e-4)


def test_counts_by_hand() -> None:
    label = np.array([[[1, 0], [1, 0], [1, 0]], [[1, 0], [0, 1], [0, 0]], [[0, 1], [0, 1], [0, 1]]], float)
    found = find_target("label").figures(label)
    assert found["accuracy"] == pytest.approx(2 / 3)
    np.testing.assert_allclose(found["class/recall"], [1 / 2, 1])
    np.testing.assert_allclose(found["class/precision"], [1, 1 / 2])
    np.testing.assert_allclose(found["f1"], 2 / 3)
    mask = np.array([[6, 4, 0], [5, 4, 1], [4, 3, 0]], float)
    found = find_target("mask").figures(mask[None])
    np.testing.assert_allclose(found["class/iou"], [4 / 7, 3 / 5, 0])
    np.testing.assert_allclose(found["miou"], (4 / 7 + 3 / 5) / 3)
    assert found["pixel_accuracy"] == 0.7
    assert not {"foreground_iou", "foreground_dice"} & found.keys()  # of two classes only
    found = find_target("mask").figures(np.array([[[90, 10], [92, 8], [88, 6]]], float))
    assert found["foreground_iou"] == 6 / 12
    assert found["foreground_dice"] == 12 / 18
    assert found["dice"] == (176 / 182 + 12 / 18) / 2
    absent = find_target("mask").figures(np.array([[[6, 0], [6, 0], [6, 0]]], float))
    assert absent["miou"] == 1
    assert np.isnan(absent["class/iou"][1])
    # two classes, and boxes without a label
    rows = [[2, 1, 1], [1.5, 0.25, 0.25], [2, 0, 0], [1, 0, 0], [0.9, 0.1, 0], [2, 1, 0], [1, 0, 0]]
    box = find_target("bbox").figures(np.array([rows], float))
    assert (box["iou"], box["iou50"], box["iou75"], box["iou5095"]) == (0.5, 0.5, 0.25, 0.25)
    assert box["localization"] == pytest.approx(1 / 3)
    np.testing.assert_allclose(box["class/iou"], [0.75, 0.25])
    np.testing.assert_allclose(box["class/iou50"], [1, 0])


@pytest.mark.parametrize(("key", "rows"), [("label", 3), ("bbox", 7), ("mask", 3), ("value", 5)])
def test_figures_of_drawn_images_are_those_of_a_set_that_repeats_them(key: str, rows: int) -> None:
    counts = np.random.default_rng(0).integers(1, 9, (4, rows, 2)).astype(float)
    times = np.array([[1, 1, 1, 1], [3, 0, 1, 0]])
    found = find_target(key).figures(counts, times)
    for draw, repeated in enumerate((counts, counts[[0, 0, 0, 2]])):
        for name, value in find_target(key).figures(repeated).items():
            np.testing.assert_allclose(found[name][draw], value, err_msg=name)


def labels(right: np.ndarray) -> np.ndarray:
    """Counts of a model that is right or wrong on images of the first of two classes."""
    return np.stack([[[1, 0], [float(good), float(not good)], [float(good), 0]] for good in right])


def test_a_class_that_does_not_occur_has_no_interval() -> None:
    counts = np.array([[[6, 0], [6, 0], [6, 0]]] * 4, float)
    assert all(np.isnan(part) for part in bootstrap("mask", counts, 10)["class/iou"][1])


def test_intervals_are_as_wide_as_theory_says() -> None:
    right = np.arange(400) % 4 > 0  # 0.75 of 400: standard error 0.02165
    (interval,) = bootstrap("label", labels(right))["accuracy"]
    assert interval.value == 0.75
    assert interval.low == pytest.approx(0.75 - 1.96 * 0.02165, abs=0.005)
    assert interval.high == pytest.approx(0.75 + 1.96 * 0.02165, abs=0.005)


@pytest.mark.parametrize("number", [30, 100, 300])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.98, 0.99])
def test_intervals_of_shares_cover_them_near_0_and_1_too(p: float, number: int) -> None:
    drawn = np.random.default_rng(0).binomial(number, p, 2000) / number
    for shares, share in ((drawn, p), (1 - drawn, 1 - p)):
        low, high = share_interval(shares, shares * (1 - shares) / number, np.full(2000, number))
        assert ((low <= share) & (share <= high)).mean() >= 0.93
        assert ((low <= shares) & (shares <= high)).all()


def test_intervals_of_draws_are_those_of_the_share_and_no_certainty_comes_from_a_few_images() -> None:
    for right in (60, 59, 30, 1, 0):
        (found,) = bootstrap("label", labels(np.arange(60) < right))["accuracy"]
        share = np.array([right / 60])
        expected = share_interval(share, share * (1 - share) / 60, np.array([60]))
        assert [found.low, found.high] == pytest.approx(np.ravel(expected), abs=0.01)
    (whole,) = bootstrap("label", labels(np.ones(60)))["accuracy"]
    assert (whole.value, whole.high) == (1, 1)
    assert 0.9 < whole.low < 0.95
    # five images of the second class, all right, and 20 of the first, taken for the second: Newcombe 1998, method 4
    counts = np.array([[[0, 1], [0, 1], [0, 1]]] * 5 + [[[1, 0], [0, 1], [0, 0]]] * 20, float)
    recall = bootstrap("label", counts, 100)["class/recall"][1]
    assert (recall.low, recall.high) == (pytest.approx(0.463, abs=0.002), 1)
    known = np.array([[[0.9, 0.1], [1, np.nan], [0.5, 0.5]]] * 5 + [[[0.1, 0.9], [0, 1], [0.5, 0.5]]] * 3)
    assert {name: value.tolist() for name, value in find_target("labels").sizes(known).items()} == {
        **{"map": 8, "f1": 8, "micro_f1": 8, "class/ap": [5, 3], "class/f1": [5, 3]},
        **{"class/precision": [5, 3], "class/recall": [5, 3]},
    }


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(1)
    right = rng.random(400) < 0.75
    better = right | (np.arange(400) % 8 == 0)  # never worse
    (same,) = bootstrap("label", labels(right), other=labels(right))["accuracy"]
    assert same == (0, 0, 0)
    (gain,) = bootstrap("label", labels(right), other=labels(better))["accuracy"]
    number = int((better & ~right).sum())
    assert gain.value == pytest.approx(number / 400)
    assert gain.low > 0  # alone, either's interval is 0.08 wide
    spread = 1.96 * np.sqrt(number) / 400
    assert gain.high == pytest.approx(gain.value + spread, abs=0.003)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "evaluation.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_one_model(shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    main(["evaluate", str(shapes_checkpoints["all"]), "--output", str(tmp_path), "--draws", "50"])
    assert "test, 12 images" in (printed := capsys.readouterr().out)
    found = rows(tmp_path)
    assert {row["metric"] for row in found} >= {"accuracy", "iou", "iou50", "miou", "pixel_accuracy", "recall"}
    whole = [row for row in found if not row["class"]]
    for row in whole:
        assert row["metric"] in printed
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    assert next(float(row["baseline"]) for row in whole if row["metric"] == "accuracy") < 0.6
    content = json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (content["split"], content["images"], len(content["figures"])) == ("test", 12, len(found))
    main(["evaluate", str(shapes_checkpoints["all"]), "--output", str(tmp_path), "--draws", "5", "--split", "val"])
    assert capsys.readouterr().out.endswith(f"written to {tmp_path}-1\n")
    assert rows(tmp_path) == found


def test_the_command_compares_two(shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    model = str(shapes_checkpoints["mask"])
    main(["evaluate", model, model, "--output", str(tmp_path), "--split", "val", "--draws", "20", "--tta", "hflip"])
    assert "difference" in capsys.readouterr().out
    for row in rows(tmp_path):
        if row["difference value"] != "nan":
            assert float(row["difference value"]) == float(row["difference low"]) == float(row["difference high"]) == 0


def test_the_command_compares_views_with_the_plain_answer(
    shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    model = str(shapes_checkpoints["mask"])
    main(["evaluate", model, "--output", str(tmp_path), "--draws", "20", "--tta", "hflip", "1.5"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("plain", "views", "difference"))
    for row in rows(tmp_path):
        if row["metric"] == "miou":
            assert float(row["difference value"]) == pytest.approx(
                float(row["views value"]) - float(row["plain value"])
            )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_without_a_file(
    number: signal.Signals, shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    folder, main_thread, ended = tmp_path / "out", threading.get_ident(), threading.Event()

    def interrupt() -> None:
        while not folder.exists():
            if ended.wait(0.01):
                return
        signal.pthread_kill(main_thread, number)

    threading.Thread(target=interrupt).start()
    args = ["--output", str(folder), "--batch_size", "1", "--data.dataset.count", "8000"]
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(shapes_checkpoints["label"]), *args])
    ended.set()
    assert stopped.value.code == 128 + number
    assert capsys.readouterr().err == f"interrupted by {number.name}\n"
    assert [*folder.iterdir()] == []


def test_data_can_be_changed_and_mistakes_are_named(
    shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    model = str(shapes_checkpoints["mask"])
    output = ["--output", str(tmp_path / "out")]
    main(["evaluate", model, *output, "--draws", "5", "--data.dataset.count", "32"])
    assert "test, 8 images" in capsys.readouterr().out

    def error(*args: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", *args, *output])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    assert "Did you mean 'data.batch_size'" in error(model, "--data.batchsize", "3")
    assert "gone.yaml: no such config" in error(model, "-c", str(tmp_path / "gone.yaml"))
    (tmp_path / "bare.yaml").write_text("trainer: {max_epochs: 1}")
    assert "bare.yaml: no section `data`" in error(model, "-c", str(tmp_path / "bare.yaml"))
    assert "predicts ('label', 'bbox', 'mask')" in error(model, str(shapes_checkpoints["all"]))


def test_data_of_other_classes_is_refused(
    shapes_checkpoints: dict[str, Path], class_folders: Path, tmp_path: Path
) -> None:
    config = {"data": {"dataset": {"class_path": "ImageFolder", "init_args": {"root": str(class_folders)}}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    data = open_data(tmp_path / "c.yaml")
    with pytest.raises(InputError, match=r"class_names: the data has \['blue', 'green', 'red'\], the model"):
        count(Predictor.open(str(shapes_checkpoints["all"])), data.dataset("val"))


def test_an_unknown_figure_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {"metric": "map_small", "class": "", "value": math.nan, "low": math.nan, "high": math.nan}
    _print([{**unknown, "baseline": math.nan}, {**unknown, "value": 0.5, "low": 0.4, "high": 0.6, "baseline": 0.1}], "")
    text = capsys.readouterr().out
    assert "[, ]" not in text
    assert "0.5000 [0.4000, 0.6000]" in text
