"""Reports of runs: their figures are those of evaluate, names are text, and the page works in a browser."""

from __future__ import annotations

import base64
import csv
import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import MulticlassCalibrationError

from visiontasks.cli import main
from visiontasks.core.draw import palette
from visiontasks.core.errors import InputError
from visiontasks.data import Shapes
from visiontasks.evaluate import bootstrap
from visiontasks.evaluate.contrast import contrast
from visiontasks.predict.predictor import Predictor
from visiontasks.report.charts import Series, chart, ticks
from visiontasks.report.choice import choose, lowest
from visiontasks.report.confusion import find_confusion
from visiontasks.report.content import seen_sizes
from visiontasks.report.curves import curve_charts
from visiontasks.report.facts import changed_settings, read_facts, run_names
from visiontasks.report.gather import gather, layers_of, object_share
from visiontasks.report.image_measures import measure
from visiontasks.report.kind_charts import calibration, curve
from visiontasks.report.layers import Layer, difference, mask_picture, outline
from visiontasks.report.quality import occurrence, quality_of
from visiontasks.report.slices import Part, bins, find_slices
from visiontasks.targets import find_target
from visiontasks.targets.coco import match

HOSTILE = "</script><img src=x onerror=alert(1)>"
MORE = ["--draws", "50", "--data.dataset.count", "160"]
KEYS = ("label", "labels", "value", "bbox", "mask", "objects")


def counts_of(key: str, number: int = 40, classes: int = 3) -> np.ndarray:
    """Counts of random images."""
    rng, names = np.random.default_rng(0), [f"c{place}" for place in range(classes)]
    kind, found = find_target(key), []
    for _ in range(number):
        truth: dict[str, Any] = {"label": int(rng.integers(classes)), "labels": rng.integers(0, 2, classes)}
        guess = {"label": int(rng.integers(classes)), "labels_probabilities": rng.random(classes).astype(np.float32)}
        truth["labels"] = truth["labels"].astype(np.float32)
        guess |= {"labels_thresholds": np.full(classes, 0.5), "score": 0.5}
        truth |= {"value": rng.random(classes), "bbox": np.array([2, 2, 9, 9]) + rng.integers(0, 2, 4)}
        guess |= {"value": rng.random(classes), "bbox": np.array([3, 3, 9, 9]) + rng.integers(0, 2, 4)}
        truth |= {"mask": rng.integers(0, classes, (8, 8)), "objects": objects(rng, classes)}
        guess |= {"mask": rng.integers(0, classes, (8, 8)), "objects": objects(rng, classes)}
        found.append(kind.counts(truth, guess, names))
    return np.stack(found)


def objects(rng: np.random.Generator, classes: int) -> dict[str, np.ndarray]:
    """A few random objects, which may be true or predicted ones."""
    number = int(rng.integers(0, 4))
    corner = rng.integers(0, 3, (number, 2)) * 40
    boxes = np.concatenate([corner, corner + 40], 1).astype(np.float32)
    labels, scores = rng.integers(0, classes, number), np.sort(rng.random(number))[::-1]
    return {"boxes": boxes, "labels": labels, "crowd": np.zeros(number, bool), "scores": scores, "taken": scores > 0.3}


# What is computed


@pytest.mark.parametrize("key", KEYS)
def test_the_figure_of_single_images_is_one_of_the_set(key: str) -> None:
    counts = counts_of(key, classes=1 if key == "value" else 3)
    quality = quality_of(key, counts)
    whole = float(quality.kind.figures(quality.counts)[quality.name])
    assert whole == pytest.approx(float(find_target(key).figures(counts)[quality.title]), abs=1e-12)
    each = quality.of_images()
    assert each.shape == (len(counts),)
    for index in (0, 7):
        alone = float(quality.kind.figures(quality.counts[index : index + 1])[quality.name])
        np.testing.assert_allclose(each[index] * quality.sign, alone)


def test_less_error_is_better() -> None:
    counts = counts_of("value", 3, 1)
    counts[:, 3, 0] = [0.5, 0.1, 0.9]
    assert np.argsort(quality_of("value", counts).of_images()).tolist() == [2, 0, 1]


def test_numbers_of_different_units_count_alike() -> None:
    true, found = np.array([[1.0, 1000], [3, 5000], [5, 9000]]), np.array([[3.0, 1000], [3, 6000], [5, 9000]])
    names = ["age", "income"]
    counts = np.stack(
        [find_target("value").counts({"value": t}, {"value": f}, names) for t, f in zip(true, found, strict=True)]
    )
    deviations = true.std(0)  # 1.63 and 3266
    quality = quality_of("value", counts)
    np.testing.assert_allclose(quality.of_images(), [-2 / deviations[0] / 2, -1000 / deviations[1] / 2, 0])
    assert quality.title == "mae in standard deviations"


def test_classes_occur_where_the_truth_has_them() -> None:
    labels = np.array([[[0.9, 0.1], [0, 1], [0.5, 0.5]], [[0.9, 0.1], [np.nan, 0], [0.5, 0.5]]])
    assert occurrence("labels", labels).tolist() == [[False, True], [False, False]]
    label = np.array([[[0, 1], [1, 0], [0, 0]]], float)
    assert occurrence("label", label).tolist() == [[False, True]]
    assert occurrence("value", counts_of("value")).shape == (40, 0)
    found = occurrence("objects", counts_of("objects"))
    assert found.shape == (40, 3)
    assert found.any(0).all()


def test_the_confusion_of_the_images_is_that_of_the_set() -> None:
    counts = counts_of("objects")
    found = find_confusion("objects", counts, ["a", "b", "c"])
    assert found is not None
    expected = find_target("objects").matrices(counts)["confusion"]
    assert found.numbers == {(row, column): expected[row, column] for row, column in np.argwhere(expected).tolist()}
    assert found.names == ["a", "b", "c", "background"]
    label = np.array([[[1, 0], [0, 1], [0, 0]], [[1, 0], [1, 0], [1, 0]], [[0, 0], [0, 0], [0, 0]]], float)
    found = find_confusion("label", label, ["a", "b"])
    assert found is not None
    assert found.numbers == {(0, 1): 1, (0, 0): 1}
    assert found.images == {(0, 1): [0], (0, 0): [1]}
    many = np.zeros((3, 3, 40))
    many[:, 0, 5] = many[:2, 1, 6] = many[2, 1, 5] = 1
    large = find_confusion("label", many, [str(place) for place in range(40)])
    assert large is not None
    assert large.shown == [(5, 6)]  # of many classes the mistakes alone
    assert find_confusion("mask", label, ["a", "b"]) is None


def test_the_calibration_error_is_that_of_a_test() -> None:
    rng = np.random.default_rng(0)
    shares, labels = rng.dirichlet(np.ones(4), 300).astype(np.float32), rng.integers(0, 4, 300)
    expected = MulticlassCalibrationError(4, n_bins=15)(torch.from_numpy(shares), torch.from_numpy(labels))
    error, found = calibration(shares.max(1).astype(float), shares.argmax(1) == labels)
    assert error == pytest.approx(float(expected), abs=1e-6)
    assert sum(number for *_, number in found) == 300


def test_precision_and_recall_by_hand() -> None:
    score, right = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, True])
    assert curve(score, right, 4) == [(0.25, 1.0), (0.5, pytest.approx(2 / 3)), (0.75, 0.75)]
    assert curve(score[:0], right[:0], 4) == []


def test_a_slice_is_compared_with_the_rest() -> None:
    right = np.arange(80) >= 20  # the first 20 are wrong
    counts = np.stack([[[1.0], [1.0], [float(good)]] for good in right])
    inside = np.arange(80) < 40
    found = contrast(find_target("label"), counts, "accuracy", inside)
    assert found.value == 0.5 - 1
    assert -0.7 < found.low < found.value < found.high < -0.3
    assert np.isnan(contrast(find_target("label"), counts, "accuracy", np.zeros(80, bool)).value)
    # the same draws by hand
    rng = np.random.default_rng(0)
    drawn = [rng.integers(80, size=80) for _ in range(50)]
    values = [right[d][inside[d]].mean() - right[d][~inside[d]].mean() for d in drawn]
    assert contrast(find_target("label"), counts, "accuracy", inside, 50).low == pytest.approx(
        np.quantile(values, 0.025)
    )


@pytest.mark.parametrize("key", ["label", "value"])
def test_the_worse_slice_comes_first_and_only_it_is_clear(key: str) -> None:
    rng = np.random.default_rng(0)
    dark, noise = np.arange(200) < 100, rng.random(200)
    fault = (rng.random(200) < np.where(dark, 0.5, 0.1)).astype(float)
    if key == "label":
        counts = np.stack([[[1.0, 0], [1 - bad, bad], [1 - bad, 0]] for bad in fault])
    else:
        counts = np.stack([[[1.0], [0.0], [0.0], [bad], [bad]] for bad in fault])
    parts = [*bins("noise", noise), Part("light", "dark", dark), Part("few", "", np.arange(200) < 3)]
    first, *others = find_slices(quality_of(key, counts), parts)
    assert first.part.title == "light"
    assert first.clarity > 0
    assert np.sign(first.effect.value) == (-1 if key == "label" else 1)
    assert {one.part.title for one in others} == {"noise"}
    assert all(one.clarity <= 0 for one in others)


def test_bins_hold_each_known_image_once() -> None:
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, np.nan])
    found = [*bins("x", values)]
    assert np.sum([part.inside for part in found], axis=0).tolist() == [1] * 8 + [0]
    assert [*bins("x", np.full(9, 3.0))] == []
    assert [*bins("x", np.full(9, np.nan))] == []


def test_measures_by_hand() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 4:] = 200
    found = measure(image)
    assert (found["brightness"], found["contrast"], found["pixels"], found["aspect"]) == (100, 100, 32, 2)
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert measure(cv2.GaussianBlur(photo, (9, 9), 3))["sharpness"] < measure(photo)["sharpness"] / 10
    large = cv2.resize(photo, (2048, 2048), interpolation=cv2.INTER_NEAREST)
    assert measure(large)["brightness"] == pytest.approx(measure(photo)["brightness"], abs=1)


def test_images_are_chosen_in_turns() -> None:
    assert choose([[1, 2, 3], [2, 4], []]) == [1, 2, 4, 3]
    assert choose([range(500)], 7) == [*range(7)]
    assert lowest(np.array([3, np.nan, 1, 2]), 2) == [2, 3]
    assert lowest(np.array([3.0, 0, 1, 2]), 9, np.array([True, False, True, True])) == [2, 3, 0]


@pytest.mark.parametrize(
    ("ends", "texts"),
    [
        ((0, 1), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ((-3, 7), ["-2", "0", "2", "4", "6"]),
        ((0.001, 0.0021), ["0.0010", "0.0012", "0.0014", "0.0016", "0.0018", "0.0020"]),
    ],
)
def test_ticks_are_round(ends: tuple[float, float], texts: list[str]) -> None:
    assert [text for _, text in ticks(*ends)] == texts


def test_charts_hold_what_is_finite() -> None:
    found = chart("t", "epoch", "y", [Series("a", [(1, 0.5), (2, float("nan")), (3, 1.5)]), Series("b", [])])
    (series,) = found["series"]
    assert series["path"] == "M52.0,220.0L468.0,10.0"
    assert [tick["text"] for tick in found["x_ticks"]] == ["1", "2", "3"]
    (bars,) = chart("t", "x", "y", [Series("a", [(0, 1, 2), (1, 2, 4)], kind="bars")])["series"]
    assert [bar["height"] for bar in bars["bars"]] == [105, 210]


def test_curves_are_read_from_a_table_that_may_be_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss,val/loss,val/f1,val/f1_baseline,lr-AdamW\n0,9,2,,,,\n0,9,,1,0.5,0.1,\n1,1")
    found = curve_charts([("a", path)], "f1")
    assert [one["title"] for one in found] == ["Loss", "f1"]
    assert [one["title"] for one in found[1]["series"]] == ["val", "baseline"]
    assert curve_charts([("a", tmp_path / "none.csv")], "f1") == []


def metrics(path: Path, epochs: int) -> Path:
    """The metrics.csv of a run of some epochs, of 10 steps each."""
    lines = ["epoch,step,train/loss,val/loss,train/f1,val/f1,val/f1_baseline,lr-AdamW/pg1,lr-AdamW/pg2"]
    for epoch in range(epochs):
        lines += [f",{10 * epoch},,,,,,0.1,0.01", f"{epoch},{10 * epoch + 9},2,1,0.6,0.5,0.1,,"]
    path.write_text("\n".join(lines))
    return path


def test_one_epoch_is_a_visible_point_and_the_baseline_goes_across(tmp_path: Path) -> None:
    short, long = metrics(tmp_path / "a.csv", 1), metrics(tmp_path / "b.csv", 5)
    alone = curve_charts([("a", short)], "f1")[1]["series"]
    assert [one["title"] for one in alone] == ["train", "val", "baseline"]
    assert all(re.fullmatch(r"M260.0,[\d.]+h0", one["marks"]) for one in alone[:2])
    several = curve_charts([("A", short), ("B", long)], "f1")[1]["series"]
    shown = {one["title"]: one for one in several}
    assert shown["A train"]["marks"] == shown["A train"]["path"] + "h0"
    assert [shown[name]["color"] for name in ("A val", "B val")] == ["second", "first"]  # as in the pictures
    assert shown["B train"]["marks"] == ""  # dashed, and of more than one point
    for series in (alone[2], shown["baseline"]):
        assert re.fullmatch(r"M52.0,([\d.]+)L468.0,\1", series["path"])


def test_each_logged_learning_rate_has_a_curve(tmp_path: Path) -> None:
    chart = curve_charts([("a", metrics(tmp_path / "a.csv", 3))], "f1")[2]
    assert (chart["title"], chart["x"]) == ("Learning rate", "step")
    assert [one["title"] for one in chart["series"]] == ["AdamW/pg1", "AdamW/pg2"]
    assert [tick["text"] for tick in chart["x_ticks"]] == ["0", "5", "10", "15", "20"]
    both = curve_charts([(name, tmp_path / "a.csv") for name in "AB"], "f1")[2]["series"]
    assert [one["title"] for one in both] == ["A AdamW/pg1", "A AdamW/pg2", "B AdamW/pg1", "B AdamW/pg2"]


# What is drawn


def test_layers_record_boxes_outlines_masks_and_words() -> None:
    spec = {"class_names": ["cat", "dog"], "mask_names": ["background", "road"]}
    box = {"boxes": np.array([[1, 2, 30.26, 40]]), "labels": np.array([1]), "scores": np.array([0.875])}
    masks = np.zeros((1, 50, 50), bool)
    masks[0, 2:40, 1:30] = True
    layer = Layer.of({"objects": {**box, "taken": np.array([True]), "masks": masks}}, spec)
    assert layer.boxes == [[1, 2, 30.3, 40, "dog 0.88"]]
    assert layer.shapes == ["M1,2 1,39 29,39 29,2Z"]
    assert layer.text == "1 dog"
    assert Layer.of({"label": 0, "score": 0.5}, spec).to_json() == {"text": "cat 0.50"}
    mask = np.zeros((10, 10), np.uint8)
    mask[:2] = 1
    assert Layer.of({"mask": mask}, spec).text == "road 20.0 %"
    wrong = difference({"mask": mask}, {"mask": np.zeros_like(mask), "size": (10, 10)})
    assert wrong is not None
    assert wrong.mask
    assert difference({"label": 1}, {"label": 0, "score": 0.5}) is None
    assert outline(np.zeros((4, 4), bool)) == ""


def test_names_of_several_words_are_whole() -> None:
    spec = {"class_names": ["traffic light", "traffic sign"]}
    found = {"boxes": np.array([[1, 2, 3, 4]] * 3), "labels": np.array([0, 1, 0])}
    truth = Layer.of({"objects": {**found, "crowd": np.zeros(3, bool)}}, spec)
    assert sorted(truth.text.split(", ")) == ["1 traffic sign", "2 traffic light"]
    taken = {"scores": np.array([0.9, 0.8, 0.7]), "taken": np.array([True, True, False])}
    prediction = Layer.of({"objects": {**found, **taken}}, spec)
    assert sorted(prediction.text.split(", ")) == ["1 traffic light", "1 traffic sign"]
    assert [box[4] for box in prediction.boxes] == ["traffic sign 0.80", "traffic light 0.90"]


def test_the_size_of_objects_needs_no_picture() -> None:
    spec = {"class_names": ["a"], "mask_names": ["background", "cat"]}
    boxes = {"boxes": np.array([[0, 0, 10, 10], [0, 0, 10, 30.0]]), "labels": np.array([0, 0])}
    crowd = {"crowd": np.zeros(2, bool), "masks": np.ones((2, 40, 50), bool)}
    mask = np.zeros((40, 50), np.uint8)
    mask[:4], mask[4] = 1, 255
    for truth, share in (
        ({"objects": {**boxes, **crowd}, "mask": mask}, (100 + 300) / 2 / 2000),
        ({"bbox": np.array([0, 0, 50, 20.0]), "label": 0}, 0.5),
        ({"mask": mask}, 0.1),
        ({"label": 0}, np.nan),
    ):
        np.testing.assert_allclose(object_share(truth, spec, mask.size), share)


def test_masks_are_pictures_whose_first_class_is_clear() -> None:
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    data = base64.b64decode(mask_picture(mask).partition(",")[2])
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found[..., 3].tolist() == [[0, 255], [255, 0]]
    assert found[0, 1, 2::-1].tolist() == palette()[1].tolist()
    large = base64.b64decode(mask_picture(np.zeros((100, 1000), np.uint8)).partition(",")[2])
    assert cv2.imdecode(np.frombuffer(large, np.uint8), cv2.IMREAD_UNCHANGED).shape == (32, 320, 4)


# The page


def rows(page: str, table: int = 0) -> list[list[str]]:
    """The cells of a table of a page."""
    body = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)[table]
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in body.split("</tr>") if "<td" in row]
    return [[html.unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in line] for line in lines]


def content(page: str) -> dict[str, Any]:
    """What the script of a page shows."""
    return json.loads(page.partition('id="content">')[2].partition("</script>")[0])


@pytest.fixture(scope="session")
def page_of_shapes(once: Callable[..., Path], shapes_checkpoints: dict[str, Path]) -> Path:
    """The report of a model of label, box and mask."""

    def write(folder: Path) -> None:
        main(["report", str(shapes_checkpoints["all"]), "--output", str(folder / "report.html"), *MORE])

    return once("report", write) / "report.html"


def test_figures_are_those_of_evaluate(
    page_of_shapes: Path, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    main(["evaluate", str(shapes_checkpoints["all"]), "--output", str(tmp_path), *MORE])
    expected = json.loads((tmp_path / "evaluation.json").read_text())
    page = page_of_shapes.read_text()
    found = {cells[0]: cells[1:] for cells in rows(page)}
    sets = [row for row in expected["figures"] if not row["class"] and row["value"] is not None]
    assert len(sets) == len(found) >= 8
    for row in sets:
        value, interval, baseline = found[f"{row['key']} {row['metric']}".replace("_", " ")]
        assert value == f"{row['value']:.4f}"
        assert interval == f"{row['low']:.4f} to {row['high']:.4f}"
        assert baseline == f"{row['baseline']:.4f}"
    classes = [row for row in expected["figures"] if row["class"] and row["value"] is not None]
    tables = [cells for table in range(1, 12) for cells in (rows(page, table) if table < page.count("<tbody>") else [])]
    shown = {(cells[0], part) for cells in tables for part in cells[1:]}
    for row in classes:
        part = f"{row['value']:.4f} {row['low']:.4f} to {row['high']:.4f}"
        assert any(name == row["class"] and cell.split() == part.split() for name, cell in shown), row


def test_layers_are_made_for_the_images_that_are_shown_alone(
    shapes_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr("visiontasks.report.layers.mask_picture", lambda *args: made.append(1) or mask_picture(*args))
    predictor = Predictor.open(str(shapes_checkpoints["all"]), device="cpu")
    dataset = Shapes("val", count=48, size=48)
    small = gather(predictor, dataset, batch_size=8)
    made.clear()
    monkeypatch.setattr("visiontasks.report.gather.SMALL", len(dataset) - 1)
    found = gather(predictor, dataset, batch_size=8)
    assert made == []
    assert found.layers == {}
    assert all((found.counts[key] == counts).all() for key, counts in small.counts.items())
    layers = layers_of(predictor, dataset, [7, 2], batch_size=8)
    assert len(made) == 6  # truth, prediction and errors of two images
    assert [*layers] == [7, 2]
    every = predictor.predict([dataset.image(index) for index in range(len(dataset))], batch_size=8)
    for index, (truth, prediction, errors) in layers.items():
        expected = Layer.of(every[index], predictor.spec)
        assert (prediction.mask, prediction.text) == (expected.mask, expected.text)
        np.testing.assert_allclose(prediction.boxes[0][:4], expected.boxes[0][:4], atol=0.1)
        told = dataset.truth(index, dataset.image(index).shape)
        known = {key: told[key] for key in predictor.network.keys}
        assert truth.to_json() == Layer.of(known, predictor.spec).to_json()
        assert errors.mask
        assert [layer.to_json() for layer in small.layers[index]] == [
            truth.to_json(),
            expected.to_json(),
            errors.to_json(),
        ]
        assert found.scores[index] == pytest.approx(every[index]["score"], abs=1e-6)


def test_a_page_reaches_for_nothing_and_is_small(page_of_shapes: Path) -> None:
    page = page_of_shapes.read_text()
    assert "http" not in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"url\(|@import|innerHTML", page)
    assert len(page) < 1_000_000
    data = content(page)
    assert len(data["images"]) == len({image["name"] for image in data["images"]}) > 0
    assert data["layers"] == ["truth", "prediction", "errors"]
    assert data["legend"]
    known = {one["key"] for one in data["lists"] if one["key"]}
    assert set(re.findall(r'data-list="([^"]+)"', page)) <= known
    assert all(place < len(data["images"]) for one in data["lists"] for place in one["images"])


def test_objects_have_boxes_and_a_confusion(detector_checkpoint: Path, tmp_path: Path) -> None:
    main(["report", str(detector_checkpoint), "--output", str(tmp_path / "a.html"), "--split", "val", "--draws", "20"])
    page = (tmp_path / "a.html").read_text()
    data = content(page)
    assert any(len(layer.get("boxes", ())) > 1 for image in data["images"] for layer in image["layers"])
    assert "Precision and recall at an IoU of 0.5" in page
    assert 'aria-label="Overlap of found objects' in page
    cells = {(int(row), int(column)) for row, column in re.findall(r'data-list="objects:(\d):(\d)"', page)}
    right = [one for one in data["lists"] if one["title"].endswith(", right")]
    assert len(right) == sum(row == column for row, column in cells) > 0


def hostile_table(folder: Path) -> Path:
    """A table of 24 images with names that are HTML."""
    rng = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "patient"])
        for index in range(24):
            name = f"<b onclick=alert({index})>&'.png"
            Image.fromarray(rng.integers(0, 99, (20, 20, 3), np.uint8) + 100 * (index % 2)).save(folder / name)
            writer.writerow(
                [name, (HOSTILE, '"quoted" & <i>')[index % 2], ("train", "val")[index // 2 % 2], f"<p{index % 4}>"]
            )
    return folder / "table.csv"


def fit_args(table: Path, folder: Path) -> list[str]:
    return f"""
        --model ClassificationTask --model.backbone.name test_resnet --model.backbone.pretrained false
        --data.dataset CsvTable --data.dataset.path {table} --data.dataset.group_column patient --data.image_size 32
        --data.batch_size 4 --data.augment none --trainer.accelerator cpu --trainer.logger false
        --trainer.default_root_dir {folder / "runs"}
    """.split()


def test_a_fit_ends_with_a_report_in_which_names_are_text(
    tmp_path: Path, capsys: pytest.CaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    args = fit_args(hostile_table(tmp_path), tmp_path)
    main(["fit", *args, "--trainer.max_epochs", "1"])
    (run,) = (tmp_path / "runs").glob("*/*")
    page = (run / "report.html").read_text()
    assert "  report.html" in capsys.readouterr().out
    assert "<img src=x" not in page
    assert "<b onclick" not in page
    assert "<i>" not in page
    assert page.count("</script>") == 3
    data = content(page)
    assert {name for image in data["images"] for name in image["classes"]} == {HOSTILE, '"quoted" & <i>'}
    assert html.escape(HOSTILE, quote=False).replace("&amp;", "&") in page
    # another file of this name is the user's, and the fit ends well
    (run / "report.html").write_text("mine")
    main(["fit", *args, "--trainer.max_epochs", "2", "--ckpt_path", str(run / "last.ckpt")])
    assert (run / "report.html").read_text() == "mine"
    assert any("There is no" in str(one.message) and "not a report" in str(one.message) for one in recwarn.list)
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(run)])
    assert "would be replaced" in capsys.readouterr().err
    shutil.copy(*(tmp_path / f"<b onclick=alert({index})>&'.png" for index in (0, 2)))  # of train and val
    main(["report", str(run), "--output", str(tmp_path / "other.html")])
    found = "What the check of the data found"
    assert found in (tmp_path / "other.html").read_text()
    main(["report", str(run), "--output", str(tmp_path / "other.html"), "--data.check", "false"])  # replaces its own
    assert found not in (tmp_path / "other.html").read_text()


def test_no_report_if_it_is_not_wanted_or_the_split_is_limited(tmp_path: Path) -> None:
    args = [*fit_args(hostile_table(tmp_path), tmp_path), "--trainer.max_epochs", "1"]
    main(["fit", *args, "--report", "false"])
    main(["fit", *args, "--trainer.limit_val_batches", "2"])
    runs = [*(tmp_path / "runs").glob("*/*")]
    assert len(runs) == 2
    assert not [run for run in runs if (run / "report.html").exists()]


def test_a_test_has_a_report_of_its_split(tmp_path: Path, class_folders: Path) -> None:
    args = f"""
        --model ClassificationTask --model.backbone.name test_resnet --model.backbone.pretrained false
        --data.dataset ImageFolder --data.dataset.root {class_folders} --data.image_size 32
        --trainer.accelerator cpu --trainer.logger false --trainer.default_root_dir {tmp_path / "runs"}
    """.split()
    main(["fit", *args, "--trainer.max_epochs", "1", "--report", "false"])
    (run,) = (tmp_path / "runs").glob("*/*")
    main(["test", "--ckpt_path", str(run), "--trainer.accelerator", "cpu", "--trainer.logger", "false"])
    page = (run / "test/report.html").read_text()
    assert "Images of test" in page
    assert "Loss" in page  # from the metrics.csv of the fit


def test_two_runs_are_compared_on_the_same_draws(shapes_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    first = shapes_checkpoints["label"]
    second = shutil.copytree(first.parent, tmp_path / "second") / first.name
    config = second.with_name("config.yaml")
    config.write_text(config.read_text() + "seed_everything: 7\n")
    main(["report", str(first), str(second), "--output", str(tmp_path / "two.html"), "--draws", "50"])
    page = (tmp_path / "two.html").read_text()
    table = rows(page)
    assert [cells[0] for cells in table] == ["accuracy", "f1"]
    assert f"<title>{first.parent.name} and second</title>" in page
    assert "The network sees 48 x 48 pixels" in page
    assert all(cells[3].split() == ["+0.0000", "+0.0000", "to", "+0.0000"] for cells in table)
    assert rows(page, 1) == [["seed_everything", "(not given)", "7"]]
    assert content(page)["layers"] == ["truth", "A", "B"]
    counts = counts_of("label", 60), counts_of("label", 60)[::-1]
    paired = bootstrap("label", counts[0], 50, counts[1])["accuracy"][0]
    assert paired.value == 0


def test_models_are_named_by_what_differs(tmp_path: Path) -> None:
    assert run_names([tmp_path / "a/1/best.ckpt"]) == ["a/1"]
    for paths, names in (
        (["a/1/best.ckpt", "b/1/best.ckpt"], ["a", "b"]),
        (["a/1/best.ckpt", "a/2/best.ckpt"], ["1", "2"]),
        (["a/1/best.ckpt", "a/1/last.ckpt"], ["best.ckpt", "last.ckpt"]),
        (["a/1/best.ckpt", "b/1/last.ckpt"], ["a", "b"]),
        (["a/1/best.ckpt", "b/1/best.ckpt", "b/2/best.ckpt"], ["a/1", "b/1", "b/2"]),
        (["a/1/best.ckpt", "a/1/last.ckpt", "b/1/best.ckpt"], ["a/1/best.ckpt", "a/1/last.ckpt", "b/1/best.ckpt"]),
        (["a/1/best.ckpt", "a/1/best.ckpt"], ["best.ckpt", "best.ckpt"]),
    ):
        assert run_names([tmp_path / path for path in paths]) == names


def test_sizes_that_models_see_are_told_apart() -> None:
    small, large = {"image_size": 64, "resize": "pad"}, {"image_size": [96, 128], "resize": "pad"}
    expected = [{"pixels": "64 x 64", "resize": "pad", "models": ["A", "C"]}]
    assert seen_sizes([small]) == [{**expected[0], "models": ["A"]}]
    expected.append({"pixels": "96 x 128", "resize": "pad", "models": ["B"]})
    assert seen_sizes([small, large, small]) == expected


def test_facts_are_those_of_the_checkpoint(shapes_checkpoints: dict[str, Path]) -> None:
    facts = read_facts(shapes_checkpoints["label"], "x")
    told = dict(facts.rows)
    assert facts.task == "VisionTask"
    assert facts.network == "cifar10_convnet"
    assert told["reproduce"] == f"visiontasks fit -c {shapes_checkpoints['label'].parent / 'config.yaml'}"
    assert f"torch {torch.__version__}" in told["versions"]
    assert re.search(r"after \d+ steps", told["checkpoint"])
    assert changed_settings([facts, facts]) == []


def test_an_output_that_cannot_be_is_told_before_the_work(
    shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = str(shapes_checkpoints["label"])
    main(["report", model, "--output", str(tmp_path / "new/folder/a.html"), "--draws", "20"])
    assert (tmp_path / "new/folder/a.html").is_file()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit, match="2"):  # before the data is opened, which has another fault
        main(["report", model, "--data.dataset.count", "few", "--output", str(tmp_path / "file/a.html")])
    assert "the folder cannot be written to" in capsys.readouterr().err


def test_models_of_other_targets_are_refused(shapes_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from visiontasks.cli.opening import open_data
    from visiontasks.report import write_report

    data = open_data(shapes_checkpoints["label"].parent / "config.yaml")
    with pytest.raises(InputError, match=r"predicts \('mask',\)"):
        write_report([shapes_checkpoints["label"], shapes_checkpoints["mask"]], data, tmp_path / "a.html")
    assert not [*tmp_path.iterdir()]


def test_help_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; from visiontasks.cli import main\ntry: main(['report', '--help'])\nexcept SystemExit: pass\n"
    code += "print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--split" in run.stdout
    assert not {"torch", "numpy", "lightning"} & set(run.stdout.splitlines()[-1].split())


# In a browser


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """A page from disk, and what it complains about or reaches for."""
    page, faults = browser.new_page(**options), []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    outside = ("data:", path.as_uri())
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(outside) else None)
    page.goto(path.as_uri())
    return page, faults


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1180])
def test_a_page_fits_a_screen_without_a_fault(browser: Any, page_of_shapes: Path, theme: str, width: int) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": theme}
    page, faults = opened(browser, page_of_shapes, **options)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 27)" if theme == "dark" else "rgb(255, 255, 255)")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    assert faults == []


@pytest.mark.slow
def test_a_table_is_sorted_by_click_and_by_keyboard(browser: Any, page_of_shapes: Path) -> None:
    page, faults = opened(browser, page_of_shapes)
    table = page.locator("table.sortable").first
    head = table.locator("th", has_text="recall")
    place = head.evaluate("head => head.cellIndex")

    def values() -> list[float]:
        cells = table.locator("tbody tr").evaluate_all(f"rows => rows.map(row => row.cells[{place}].dataset.number)")
        return [float(cell) for cell in cells if cell]

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    table.locator("th button").first.press("Space")
    assert head.get_attribute("aria-sort") == "none"
    names = table.locator("tbody td:first-child").all_inner_texts()
    assert names == sorted(names)
    assert faults == []


@pytest.mark.slow
def test_a_cell_opens_its_images_and_a_picture_is_enlarged(browser: Any, page_of_shapes: Path) -> None:
    page, faults = opened(browser, page_of_shapes)
    cell = page.locator(".confusion button").first
    row, column = (cell.get_attribute("aria-label") or "").split(": ")[1].split(" taken for ")
    number = int(cell.inner_text())
    cell.click()
    told = page.locator("#gallery figcaption").all_inner_texts()
    assert len(told) == number
    assert all(f"truth {row}" in text and f"prediction {column}" in text for text in told)
    page.keyboard.press("Enter")  # the first picture has the focus
    assert page.locator("dialog").evaluate("dialog => dialog.open")
    first = page.locator("#enlarged figcaption").inner_text()
    page.keyboard.press("ArrowRight")
    assert number == 1 or page.locator("#enlarged figcaption").inner_text() != first
    page.keyboard.press("Escape")
    assert not page.locator("dialog").evaluate("dialog => dialog.open")
    assert page.evaluate("document.activeElement.className") == "picture"
    assert faults == []


@pytest.mark.slow
def test_what_is_drawn_can_be_switched(browser: Any, page_of_shapes: Path) -> None:
    page, faults = opened(browser, page_of_shapes)
    boxes = page.locator('#gallery [data-layer="0"] rect').first
    assert boxes.is_visible()
    toggle = page.locator("#toggles button", has_text="truth")
    toggle.press("Enter")
    assert toggle.get_attribute("aria-pressed") == "false"
    assert not boxes.is_visible()
    toggle.click()
    assert boxes.is_visible()
    page.select_option("#mask", label="prediction")
    assert page.locator('#gallery [data-mask="1"]').first.is_visible()
    assert not page.locator('#gallery [data-mask="2"]').first.is_visible()
    assert page.locator('#samples [data-mask="0"]').first.is_visible()
    page.select_option("#class", index=2)
    chosen = page.locator("#class option:checked").inner_text()
    assert all(f"truth {chosen}" in text for text in page.locator("#gallery figcaption").all_inner_texts())
    page.select_option("#list", label="A sample")
    assert faults == []


@pytest.mark.slow
def test_a_slice_opens_its_images(browser: Any, page_of_shapes: Path) -> None:
    page, faults = opened(browser, page_of_shapes)
    button = page.locator(".slices button").first
    name = button.inner_text().replace(":", "", 1)
    button.click()
    assert page.locator("#shown").inner_text().startswith(name)
    assert page.locator("#gallery figure").count() > 0
    assert faults == []


@pytest.mark.slow
def test_hostile_names_do_nothing_and_are_shown(browser: Any, tmp_path: Path) -> None:
    args = fit_args(hostile_table(tmp_path), tmp_path)
    main(["fit", *args, "--trainer.max_epochs", "1"])
    (path,) = (tmp_path / "runs").glob("*/*/report.html")
    page, faults = opened(browser, path)
    assert HOSTILE in page.locator(".confusion").inner_text()
    page.locator(".confusion button").first.click()
    assert HOSTILE in page.locator("#gallery").inner_text() or "quoted" in page.locator("#gallery").inner_text()
    assert "<b onclick=alert(" in page.locator("#gallery").inner_text()
    page.locator("#gallery button").first.click()
    assert page.locator("dialog").evaluate("dialog => dialog.open")
    assert faults == []


@pytest.mark.slow
def test_a_comparison_works_in_a_browser(browser: Any, shapes_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    first = shapes_checkpoints["label"]
    second = shutil.copytree(first.parent, tmp_path / "second") / first.name
    main(["report", str(first), str(second), "--output", str(tmp_path / "two.html"), "--draws", "20"])
    page, faults = opened(browser, tmp_path / "two.html", viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "B" in page.locator("#gallery figcaption").first.inner_text()
    assert faults == []


def test_matched_objects_have_the_expected_rows() -> None:
    """The column of bits that the report reads: the first is all areas at an IoU of 0.5."""
    truth = {"boxes": np.array([[0, 0, 40, 40.0]]), "labels": np.array([0]), "crowd": np.array([False])}
    found = {"boxes": np.array([[0, 0, 40, 40.0], [50, 50, 60, 60]]), "labels": np.array([0, 0])}
    counts = match(truth, {**found, "scores": np.array([0.9, 0.8])}, 1, np.array([True, True]))[None]
    quality = quality_of("objects", counts)
    assert quality.counts[0, :, 0].tolist() == [1, 2, 1]
    assert quality.of_images()[0] == pytest.approx(2 / 3)
