"""Any number of objects, everywhere but in training: files, pictures, views, tiles, explanations and exported files."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy
from onnx import helper
from PIL import Image, ImageFont
from pycocotools import mask as rle
from pycocotools.coco import COCO

import visiontasks
from visiontasks.callbacks import Results
from visiontasks.callbacks.panels import LARGEST, Panel, _cell, _layers, write_panels
from visiontasks.callbacks.verdict import judge_all
from visiontasks.callbacks.wandb import _picture as wandb_picture
from visiontasks.cli import main
from visiontasks.core.draw import PREDICTED, TRUE, Canvas, captioned, object_colors, palette, shortened
from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv
from visiontasks.core.geometry import box_iou
from visiontasks.core.objects import Objects, fuse, make_objects
from visiontasks.core.sample import Sample
from visiontasks.data import Scenes, VisionDataModule
from visiontasks.evaluate import bootstrap
from visiontasks.export.gate import compare
from visiontasks.export.graph import OutputGraph, describe_graph, write_onnx, write_pt2
from visiontasks.export.int8 import names_of_ends
from visiontasks.inspect.explain import choose_object, explain
from visiontasks.models import Backbone, DetectionHead, InstanceHead
from visiontasks.predict import Predictor
from visiontasks.predict.segmentation import SEGMENTATIONS, polygons
from visiontasks.predict.sources import Source, given_sources
from visiontasks.predict.tiles import tiled_objects
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.predict.writer import PredictionWriter
from visiontasks.targets import find_target
from visiontasks.targets.sample import draw_sample, rows_of
from visiontasks.tasks import DetectionTask
from visiontasks.tasks.checkpoint import read_checkpoint
from visiontasks.tasks.restore import restore_task

KIND, NAMES = find_target("objects"), ["cat", "dog"]
SPEC = {"class_names": NAMES, "image_size": 64, "resize": "stretch"}
SCENES = {"count": 48, "size": 64, "most": 3, "objects": "all", "empty": 0.2, "radii": [0.15, 0.3], "difficulty": 0.0}


def predicted(*rows: tuple[Any, ...], least: float = 0.5) -> Objects:
    """Predicted objects of rows of xmin, ymin, xmax, ymax, class and score, taken from a score on."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    scores = table[:, 5]
    return {"boxes": table[:, :4], "labels": table[:, 4].astype(int), "scores": scores, "taken": scores >= least}


def detection_task(**options: Any) -> tuple[DetectionTask, VisionDataModule]:
    seed_everything(0, verbose=False)
    data = VisionDataModule(partial(Scenes, **SCENES), image_size=64, batch_size=8, augment="none")
    optimizer = partial(torch.optim.AdamW, lr=1e-2)
    backbone = Backbone("test_resnet", False, batch_norm="train")
    return DetectionTask(data.spec, backbone, partial(DetectionHead, width=16), optimizer, **options), data


def trainer(folder: Path, epochs: int, *callbacks: Any, **options: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return Trainer(
        accelerator="cpu", max_epochs=epochs, check_val_every_n_epoch=epochs, logger=False, callbacks=[*callbacks],
        default_root_dir=folder, **quiet, **options,
    )  # fmt: skip


@pytest.fixture
def checkpoint(detector_checkpoint: Path) -> Path:
    return detector_checkpoint


@pytest.fixture
def predictor(checkpoint: Path) -> Predictor:
    return visiontasks.load(str(checkpoint), device="cpu")


@pytest.fixture
def photos() -> list[np.ndarray]:
    dataset = Scenes("val", **SCENES)
    return [dataset.image(index) for index in range(len(dataset))]


# tables and files


def test_a_table_has_a_row_per_taken_object_and_one_with_empty_cells_without_any(tmp_path: Path) -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    samples: list[Sample] = [
        {"objects": predicted((1, 2, 11, 12, 1, 0.9), (20, 4, 40, 14, 0, 0.75), (0, 0, 4, 4, 0, 0.25))},
        {"objects": predicted((0, 0, 4, 4, 0, 0.25))},
        {"objects": predicted((0, 0, 8, 8, 0, 0.5))},
    ]
    names = ["a/x.png", "y.png", "b/x.png"]
    pairs = [
        (Source.of(name, lambda: image), {"index": number, "size": (20, 40), **sample})
        for number, (name, sample) in enumerate(zip(names, samples, strict=True))
    ]
    assert PredictionWriter(tmp_path, SPEC, overlays=True, yolo=True).write(pairs) == 3
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines == [
        "path,label,score,xmin,ymin,xmax,ymax",
        "a/x.png,dog,0.9,1.0,2.0,11.0,12.0",
        "a/x.png,cat,0.75,20.0,4.0,40.0,14.0",
        "y.png,,,,,,",
        "b/x.png,cat,0.5,0.0,0.0,8.0,8.0",
    ]
    records = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [(one["path"], len(one["objects"]), one["width"]) for one in records] == [
        ("a/x.png", 2, 40), ("y.png", 0, 40), ("b/x.png", 1, 40),
    ]  # fmt: skip
    assert records[0]["objects"][0] == {"label": "dog", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 11, "ymax": 12}
    texts = {path.name: path.read_text() for path in (tmp_path / "labels").iterdir()}
    assert texts == {
        "x.txt": "1 0.150000 0.350000 0.250000 0.500000 0.900000\n0 0.750000 0.450000 0.500000 0.500000 0.750000\n",
        "y.txt": "",
        "00002_x.txt": "0 0.100000 0.200000 0.200000 0.400000 0.500000\n",
    }
    PredictionWriter(tmp_path, SPEC).write(pairs[:1])
    assert not [*(tmp_path / "labels").iterdir()]  # of an earlier run


def test_pycocotools_reads_the_coco_files(tmp_path: Path) -> None:
    mask = np.zeros((1, 5, 7), bool)
    mask[0, 1:3, 2:7] = mask[0, 4, 6] = True
    masked = {**predicted((2, 1, 7, 5, 1, 0.75)), "masks": mask}
    pairs = [
        (Source.of(f"{number}.png", lambda: None), {"index": number, "size": (5, 7), "objects": objects})
        for number, objects in enumerate((masked, {**predicted(), "masks": mask[:0]}))
    ]
    PredictionWriter(tmp_path, SPEC).write(pairs)
    coco = COCO(tmp_path / "predictions.json")
    assert [image["file_name"] for image in coco.imgs.values()] == ["0.png", "1.png"]
    assert [one["name"] for one in coco.cats.values()] == NAMES
    (one,) = coco.anns.values()
    assert (one["image_id"], one["category_id"], one["bbox"], one["score"], one["area"]) == (
        1,
        2,
        [2, 1, 5, 4],
        0.75,
        11,
    )
    height, width = one["segmentation"]["size"]
    assert (rle.decode(rle.frPyObjects(one["segmentation"], height, width)) == mask[0]).all()
    results = json.loads((tmp_path / "coco_results.json").read_text())
    assert results == [{"image_id": 1, "category_id": 2, "bbox": [2, 1, 5, 4], "segmentation": one["segmentation"],
                        "score": 0.75}]  # fmt: skip
    assert len(coco.loadRes(results).anns) == 1


def test_every_form_of_pixels_is_read_by_pycocotools(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((3, 12, 9)) < np.array([0.3, 0.5, 0.9])[:, None, None]
    masks[2, 1:4, 1:8] = True
    masks[2, 2, 2:7] = False  # a hole
    objects = {**predicted(*[(0, 0, 9, 12, 1, 0.75)] * 3), "masks": masks}
    pairs = [(Source.of("a.png", lambda: None), {"index": 0, "size": (12, 9), "objects": objects})]
    for form, kind in SEGMENTATIONS.items():
        PredictionWriter(tmp_path, SPEC, coco=form).write(pairs)
        coco = COCO(tmp_path / "predictions.json")
        results = coco.loadRes(json.loads((tmp_path / "coco_results.json").read_text()))
        for mask, one in zip(masks, results.anns.values(), strict=True):
            assert one["segmentation"] == kind(mask)
            np.testing.assert_array_equal(coco.annToMask(one), mask)
            assert one["id"] in coco.anns
            assert coco.anns[one["id"]]["area"] == mask.sum()
    with pytest.raises(InputError, match="--coco: it is for pixels, and the boxes of this model have none"):
        PredictionWriter(tmp_path, SPEC, coco="rle").write([(pairs[0][0], pairs[0][1] | {"objects": predicted()})])


def test_polygons_run_along_the_edges_of_pixels_and_have_no_holes() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:4, 1:4] = True
    mask[4, 4] = True  # touches the square at a corner
    assert [sorted(zip(one[::2], one[1::2], strict=True)) for one in polygons(mask)] == [
        [(1, 1), (1, 4), (4, 1), (4, 4), (4, 4), (4, 5), (5, 4), (5, 5)]
    ]
    mask[2, 2] = mask[4, 4] = False
    upper, lower = polygons(mask)
    assert set(zip(upper[::2], upper[1::2], strict=True)) == {
        (1, 1), (4, 1), (4, 3), (3, 3), (3, 2), (2, 2), (2, 3), (1, 3),
    }  # fmt: skip
    assert sorted(zip(lower[::2], lower[1::2], strict=True)) == [(1, 3), (1, 4), (4, 3), (4, 4)]
    assert polygons(np.zeros((3, 3), bool)) == []


def test_a_threshold_replaces_those_of_the_model(checkpoint: Path, photos: list[np.ndarray]) -> None:
    few, many = (visiontasks.load(str(checkpoint), device="cpu", threshold=t).predict(photos) for t in (0.9, 0.05))
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one["objects"]["scores"], other["objects"]["scores"])
        assert (one["objects"]["taken"] == (one["objects"]["scores"] >= 0.9)).all()
        assert (other["objects"]["taken"] == (other["objects"]["scores"] >= 0.05)).all()
    with pytest.raises(InputError, match=r"threshold=2: expected a score"):
        visiontasks.load(str(checkpoint), threshold=2)


def test_a_threshold_is_refused_by_a_model_without_any(shapes_checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"threshold=0.5: the model predicts label, without thresholds"):
        visiontasks.load(str(shapes_checkpoints["label"]), threshold=0.5)


def test_detect_predicts_with_a_model_of_whole_images(
    checkpoint: Path, photos: list[np.ndarray], tmp_path: Path, capsys: Any
) -> None:
    Image.fromarray(photos[0]).save(tmp_path / "a.png")
    main(["detect", str(checkpoint), str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--threshold", "0.1"])
    assert "this is `visiontasks predict --overlays`" in capsys.readouterr().out
    assert read_csv(tmp_path / "out/predictions.csv")
    assert (tmp_path / "out/overlays/00000_a.png").is_file()
    with pytest.raises(SystemExit):
        main(["detect", str(checkpoint), str(tmp_path), "--output", str(tmp_path / "out"), "--iou", "0.5"])
    assert "trained on whole images, without windows. Leave out --scales and --iou" in capsys.readouterr().err


# pictures


def test_an_object_has_the_color_of_its_class_and_a_caption() -> None:
    image, sample = np.full((120, 160, 3), 200, np.uint8), {"objects": predicted((40, 50, 100, 100, 1, 0.75))}
    canvas = Canvas(image)
    KIND.draw(canvas, sample, NAMES)
    drawn = canvas.picture()
    assert (drawn[100, 40:100] == object_colors()[1]).all()
    assert (drawn[60:90, 50:90] == 200).all()
    changed = np.argwhere((drawn != 200).any(2))
    assert changed[:, 0].min() < 45  # the caption is above the box
    assert (changed[:, 1] >= 40).all()


def test_crowds_are_not_drawn_and_masks_are_blended() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    truth = make_objects([[4, 30, 24, 50], [30, 10, 60, 60]], [0, 1], [False, True])
    truth["masks"] = np.zeros((2, 64, 64), bool)
    truth["masks"][0, 35:45, 10:20] = truth["masks"][1, 10:60, 30:60] = True
    canvas = Canvas(image)
    KIND.draw(canvas, {"objects": truth}, NAMES)
    drawn = canvas.picture()
    assert (drawn[:, 48:] == 200).all()
    assert (drawn[40, 15] == (object_colors()[0] + np.uint16(200)) // 2).all()


def test_captions_of_near_objects_do_not_hide_each_other() -> None:
    canvas, taken = Canvas(np.zeros((200, 200, 3), np.uint8)), []
    for box in ([50, 50, 90, 90], [52, 51, 92, 91], [51, 51, 91, 92], [52, 52, 91, 91]):
        taken.append(canvas._free_place(box, (0, 0, 60, 9), taken))
    overlaps = box_iou(np.array(taken)[:, None], np.array(taken))
    assert (overlaps == np.eye(4)).all()


def test_panels_and_wandb_have_the_boxes_with_class_and_score() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    truth, found = make_objects([[4, 30, 24, 50]], [1]), predicted((5, 30, 24, 50, 1, 0.75), (0, 0, 9, 9, 0, 0.1))
    panel = Panel(1.0, image, {"objects": truth}, {"objects": found})
    plain, true, drawn = np.split(_cell(panel, SPEC, True, 64)[:64], 3, axis=1)
    assert not plain.any()
    assert (true[40, 4] == object_colors()[1]).all()
    assert (drawn[40, 5] == object_colors()[1]).all()
    layers = _layers(panel, SPEC)[2]
    assert [(one["label"], one["caption"], one["score"]) for one in layers["target"]["boxes"]] == [(1, "dog", None)]
    (box,) = layers["prediction"]["boxes"]
    assert (box["label"], box["score"]) == (1, 0.75)
    logged = wandb_picture(*_layers(panel, SPEC), NAMES, [])._boxes["prediction"]._val
    assert [(one["class_id"], one["box_caption"], one["scores"]) for one in logged] == [
        (1, "dog 0.75", {"score": 0.75})
    ]


def test_panels_say_what_is_true_and_predicted_below_each_picture() -> None:
    truth, found = {"label": 0}, {"label": 1, "score": 0.75}
    lines = ("true: cat", TRUE), ("predicted: dog 0.75 (wrong)", PREDICTED), ("pets/cat.jpg", (0, 0, 0))
    image = np.full((64, 64, 3), 128, np.uint8)
    cell = _cell(Panel(1.0, image, truth, found, "pets/cat.jpg"), SPEC, False, 240)
    np.testing.assert_array_equal(cell, captioned(image, lines, 240, PREDICTED))
    assert (cell[[0, 239], :240] == PREDICTED).all()
    right = _cell(Panel(1.0, image, truth, {"label": 0, "score": 0.75}), SPEC, False, 240)
    assert (right[:240, [0, 239]] == TRUE).all()
    assert (right[10:230, 10:230] == 128).all()
    for number, (_, color) in enumerate(lines):
        line = cell[242 + 15 * number : 257 + 15 * number].reshape(-1, 3)
        assert (line == color).all(1).any()
    font = ImageFont.load_default(12)
    assert shortened("short", 100, font) == "short"
    long = shortened(f"first{'x' * 100}last", 100, font)
    assert long.startswith("first")
    assert long.endswith("last")
    assert font.getlength(long) <= 100 < font.getlength(f"{long}xx")


@pytest.mark.parametrize(
    ("target", "prediction", "expected"),
    [
        ({"label": 0}, {"label": 0}, ("right", True)),
        ({"label": 0}, {"label": 1}, ("wrong", False)),
        ({"label": -100}, {"label": 1}, ("", None)),
        ({"value": np.array([3.0])}, {"value": np.array([1.0])}, ("absolute error 2", None)),
        ({"bbox": np.array([0, 0, 4, 4])}, {"bbox": np.array([0, 0, 4, 3])}, ("IoU 0.75", None)),
        ({"mask": np.array([[0, 1], [1, 255]])}, {"mask": np.array([[0, 1], [0, 1]])}, ("mIoU 0.5", None)),
        ({"label": 0, "bbox": np.array([0, 0, 4, 4])}, {"label": 1, "bbox": np.array([0, 0, 4, 3])},
         ("wrong, IoU 0.75", False)),
        ({"objects": make_objects([[0, 0, 9, 9], [20, 0, 29, 9]], [0, 1])},
         {"objects": predicted((0, 0, 9, 9, 0, 0.9), (40, 0, 50, 9, 0, 0.9))}, ("1 of 2 found, 1 extra", False)),
        ({"objects": make_objects([[0, 0, 9, 9]], [0])}, {"objects": predicted((0, 0, 9, 9, 0, 0.9))},
         ("1 of 1 found", True)),
    ],
)  # fmt: skip
def test_a_prediction_is_right_or_wrong_or_has_a_figure(target: Any, prediction: Any, expected: Any) -> None:
    assert judge_all(target, prediction, {**SPEC, "mask_names": ["a", "b"], "value_names": ["age"]}) == expected


def test_errors_of_several_numbers_are_not_averaged() -> None:
    spec = {"value_names": ["age", "weight", "height"]}
    found = {"value": np.array([31.0, 70.0, 1.5])}
    text = "absolute error age 2, height 0.25"
    assert judge_all({"value": np.array([33.0, np.nan, 1.75])}, found, spec) == (text, None)
    assert judge_all({"value": np.full(3, np.nan)}, found, spec) == ("", None)


def test_a_decision_on_several_labels_or_on_presence_is_right_or_wrong() -> None:
    spec = {"class_names": ["a"], "labels_names": ["b", "c"]}
    shares = {"labels_probabilities": np.array([0.9, 0.2]), "labels_thresholds": np.array([0.5, 0.5])}
    found = {"labels": np.array([1.0, 0.0]), **shares}
    assert judge_all({"labels": np.array([1, np.nan])}, found, spec) == ("right", True)
    assert judge_all({"labels": np.array([1.0, 1.0])}, found, spec) == ("wrong", False)
    box = np.array([0, 0, 4, 4], np.float32)
    absent = {"bbox": np.zeros(4), "bbox_guess": box, "presence": 0.2, "presence_threshold": 0.5}
    assert judge_all({"bbox": box}, absent, spec) == ("wrong", False)
    assert judge_all({"bbox": np.zeros(4)}, absent, spec) == ("right", True)


def test_a_small_image_is_enlarged_before_it_is_drawn_on() -> None:
    image, mask = np.full((16, 24, 3), 90, np.uint8), np.zeros((16, 24), np.uint8)
    mask[4:12, 4:12] = 1
    spec = {"class_names": ["cat"], "mask_names": ["ground", "thing"]}
    sample = {"bbox": np.array([2, 3, 20, 14], np.float32), "mask": mask}
    drawn = draw_sample(image, sample, spec, side=320)
    assert drawn.shape == (320, 480, 3)
    ys, xs = np.nonzero((drawn == PREDICTED).all(2))
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (40, 60, 400, 280)
    assert (drawn[90:230, 90:230] == (90 + palette()[1].astype(int)) // 2).all()
    assert draw_sample(np.zeros((400, 500, 3), np.uint8), {}, spec, side=320).shape == (400, 500, 3)
    captioned = draw_sample(image, {"objects": predicted((4, 4, 12, 12, 0, 0.5))}, spec, side=320)
    assert (captioned[80, 80:240] == object_colors()[0]).all()
    assert (captioned[60:78, 82:120] != 90).any()


def test_a_region_is_visible_on_its_own_color() -> None:
    image, mask = np.full((60, 60, 3), palette()[2], np.uint8), np.zeros((60, 60), np.uint8)
    mask[20:40, 20:40], mask[:8] = 2, 255
    truth = {**make_objects([[20, 20, 40, 40]], [1]), "masks": mask[None] == 2}
    spec = {"class_names": NAMES, "mask_names": ["a", "b", "c"]}
    for canvas_of in ({"mask": mask}, {"objects": truth}):
        drawn = draw_sample(image, canvas_of, spec)
        left = drawn[30, 16:24]
        assert (left == 0).all(1).any()
        assert (drawn[30, 16:24].max(1) == 255).any() or "objects" in canvas_of  # a box covers the white line
        assert (drawn[25:35, 25:35] == palette()[2]).all()
    assert (draw_sample(image, {"mask": mask}, spec)[:15] == palette()[2]).all()  # ignored pixels have no outline


def test_a_file_of_panels_is_not_too_large(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 240, 240, 3), dtype=np.uint8)
    panels = [Panel(1.0, image, {"label": 0}, {"label": 1}) for image in noise]
    write_panels(path := tmp_path / "panels.png", panels, SPEC, False, [])
    assert LARGEST / 2 < path.stat().st_size <= LARGEST
    assert Image.open(path).width == 4 * 200 + 12


# figures


def test_the_confusion_matrix_has_the_background() -> None:
    truth = make_objects(
        [[0, 0, 20, 20], [30, 30, 50, 50], [0, 40, 10, 60], [50, 0, 60, 10]], [0, 1, 0, 1], [False, False, False, True]
    )
    found = predicted(
        *((0, 0, 20, 20, 0, 0.9), (1, 0, 20, 20, 1, 0.8)),  # right, and another one of the same object
        (30, 30, 50, 50, 0, 0.7),  # the wrong class
        (50, 0, 60, 10, 1, 0.7),  # in the crowd
        (40, 0, 45, 5, 1, 0.6),  # nothing
        (0, 40, 10, 60, 0, 0.4),  # below the threshold
    )
    counts = KIND.counts({"objects": truth}, {"objects": found}, NAMES)
    both = np.stack([counts, KIND.counts({"objects": make_objects([], [])}, {"objects": predicted()}, NAMES)])
    assert KIND.matrices(both)["confusion"].tolist() == [[1, 0, 1], [1, 0, 0], [0, 2, 0]]


def test_the_results_name_the_background_even_beside_a_class_of_this_name(tmp_path: Path) -> None:
    results, run = Results(str(tmp_path)), trainer(tmp_path, 1)
    tables = {"ap": np.array([0.5, 1]), "confusion": np.arange(9).reshape(3, 3)}
    results._write(tables, ["background", "dog"], "test", "", run)
    rows = read_csv(tmp_path / "test_confusion.csv")
    assert [row["true \\ predicted"] for row in rows] == ["background", "dog", "(background)"]
    assert list(rows[2].values())[1:] == ["6", "7", "8"]
    assert (tmp_path / "test_confusion.png").is_file()


def test_a_fit_prints_the_figures_of_each_class_and_none_of_training(tmp_path: Path, capsys: Any) -> None:
    task, data = detection_task()
    fit = trainer(tmp_path, 1, Results(str(tmp_path)))
    fit.fit(task, data)
    text = capsys.readouterr().out
    assert "train/map" not in fit.callback_metrics
    assert "train/map" not in text
    assert "val/map50" in text
    assert text.count("classes (last epoch), worst first") == 1
    assert "val/mar" not in text
    assert "triangle" in text
    assert len(read_csv(tmp_path / "val_per_class.csv")) == 4


def test_a_closed_form_alone_chooses_its_thresholds_and_averages_nothing(tmp_path: Path) -> None:
    main(
        f"""
        probe --trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.logger false
        --trainer.default_root_dir {tmp_path} --model DetectionTask --model.backbone.name test_resnet
        --model.backbone.pretrained false --data.dataset Scenes --data.dataset.count 16 --data.dataset.size 96
        --data.dataset.objects all --data.image_size 96 --data.augment none --data.batch_size 4
    """.split()
    )
    (checkpoint,) = tmp_path.glob("*/*/last.ckpt")
    weights = read_checkpoint(checkpoint)["state_dict"]
    assert (weights["heads.objects.thresholds"] != torch.tensor(0.3)).any()  # that of a new head
    assert weights["heads.objects.shortcuts.0.weight"].any()  # 0 in a new head


def test_intervals_are_of_all_figures_and_name_the_images_behind_them() -> None:
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(20):
        boxes = np.hstack([low := rng.uniform(0, 40, (2, 2)), low + rng.uniform(8, 24, (2, 2))])
        found = predicted(*([*box + rng.normal(0, 1, 4), 0, rng.uniform(0.2, 1)] for box in boxes))
        counts.append(KIND.counts({"objects": make_objects(boxes, [0, rng.integers(2)])}, {"objects": found}, NAMES))
    counts = np.stack(counts)
    assert KIND.sizes(counts).keys() == KIND.figures(counts).keys()
    assert KIND.sizes(counts)["class/ap"].tolist() == [20, (counts[:, 101, 0] > 0).sum()]
    intervals = bootstrap("objects", counts, 50)
    (ap,), per_class = intervals["map"], intervals["class/ap"]
    assert 0 <= ap.low < ap.value < ap.high <= 1
    assert ap.value == np.mean([one.value for one in per_class])


@pytest.mark.parametrize(("processes", "batch_size"), [(1, 1), (1, 16), (2, 4)])
def test_figures_depend_neither_on_the_batch_size_nor_on_the_processes(
    processes: int, batch_size: int, checkpoint: Path, predictor: Predictor, tmp_path: Path
) -> None:
    data = VisionDataModule(partial(Scenes, **SCENES | {"count": 52}), image_size=64, batch_size=batch_size)
    dataset = data.dataset("test")  # 13 images: 7 and 6
    pairs = [(dataset.truth(i, (64, 64)), predictor.predict(dataset.image(i))[0]) for i in range(len(dataset))]
    counts = np.stack([KIND.counts(truth, found, dataset.class_names) for truth, found in pairs])
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo") if processes > 1 else "auto"
    run = trainer(tmp_path, 1, devices=processes, strategy=strategy)
    (found,) = run.test(restore_task(str(checkpoint)), data, verbose=False)
    for name, value in KIND.figures(counts).items():
        if not name.startswith("class/"):
            assert found[f"test/{name}"] == pytest.approx(float(value), abs=1e-6, nan_ok=True), name
    assert 0 < found["test/map"] < 1


# views and tiles


def test_views_are_fused_by_score() -> None:
    first = predicted((0, 0, 10, 10, 0, 0.75), (20, 20, 30, 30, 1, 0.5))
    second = predicted((0, 2, 10, 12, 0, 0.25), (0, 0, 10, 10, 1, 0.4))
    fused = fuse([first, second], 0.5)
    assert fused["labels"].tolist() == [0, 1, 1]
    np.testing.assert_allclose(fused["boxes"], [[0, 0.5, 10, 10.5], [20, 20, 30, 30], [0, 0, 10, 10]])
    np.testing.assert_allclose(fused["scores"], [0.5, 0.25, 0.2])
    assert first["boxes"].tolist() == [[0, 0, 10, 10], [20, 20, 30, 30]]


@pytest.mark.parametrize("axis", [0, 1])
def test_views_find_the_same_in_a_picture_and_its_mirror(
    axis: int, predictor: Predictor, photos: list[np.ndarray]
) -> None:
    views = [("vflip", "hflip")[axis]]
    plain = predictor.predict(photos, tta=views)
    turned = predictor.predict([np.ascontiguousarray(np.flip(image, axis)) for image in photos], tta=views)
    ends = [1, 3] if axis == 0 else [0, 2]
    for one, other in zip(plain, turned, strict=True):
        boxes = other["objects"]["boxes"].copy()
        boxes[:, ends] = 64 - boxes[:, ends[::-1]]
        np.testing.assert_allclose(boxes, one["objects"]["boxes"], atol=0.01)
        np.testing.assert_allclose(other["objects"]["scores"], one["objects"]["scores"], atol=1e-4)
    assert sum(one["objects"]["taken"].sum() for one in plain)


def test_views_of_other_sizes_are_of_the_same_picture(predictor: Predictor, photos: list[np.ndarray]) -> None:
    found = predictor.predict(photos[:2], tta=["hflip", "1.5"])
    assert all((one["objects"]["boxes"] <= 64).all() for one in found)


def squares(tiles: np.ndarray) -> list[Objects]:
    """The bright squares of each tile, whole or cut; the largest are the surest."""
    found = []
    for tile in tiles:
        _, _, stats, _ = cv2.connectedComponentsWithStats((tile[0] > 0).astype(np.uint8))
        rows = [(x, y, x + w, y + h, 0, 0.6 + size / 10_000) for x, y, w, h, size in stats[1:].tolist()]
        found.append(predicted(*sorted(rows, key=lambda row: -row[5])))
    return found


def test_tiles_find_each_object_once_and_whole() -> None:
    rng, image, true = np.random.default_rng(0), np.zeros((230, 310, 3), np.uint8), []
    for y in range(5, 200, 25):
        for x in range(5, 280, 25):
            side = int(rng.integers(6, 20))
            image[y : y + side, x : x + side] = 255
            true.append([x, y, x + side, y + side])
    found = tiled_objects(squares, image, 100)
    assert sorted(found["boxes"].tolist()) == sorted(true)
    assert found.keys() == {"boxes", "labels", "scores", "taken"}
    assert (np.diff(found["scores"]) <= 0).all()
    whole = tiled_objects(squares, image[:90, :90], 100)
    assert len(whole["boxes"]) == 16


def test_a_part_that_looks_like_another_class_is_dropped() -> None:
    image = np.zeros((100, 175, 3), np.uint8)
    image[40:60, 90:110] = 255  # the first tile ends at 100, the second begins at 75

    def detect(tiles: np.ndarray) -> list[Objects]:
        return [
            {**found, "labels": (np.ptp(found["boxes"][:, ::2], axis=1) < 20).astype(int)} for found in squares(tiles)
        ]

    found = tiled_objects(detect, image, 100)
    assert (found["boxes"].tolist(), found["labels"].tolist()) == ([[90, 40, 110, 60]], [0])


def test_an_object_that_is_larger_than_the_overlap_stays_in_parts() -> None:
    image = np.zeros((100, 250, 3), np.uint8)
    image[20:60, 10:240] = 255
    assert len(tiled_objects(squares, image, 100)["boxes"]) >= 2


def test_tiles_show_objects_at_the_resolution_of_the_image(predictor: Predictor, photos: list[np.ndarray]) -> None:
    small = predictor.predict(photos[0], tile=64)[0]["objects"]
    expected = predictor.predict(photos[0])[0]["objects"]
    np.testing.assert_allclose(small["boxes"], expected["boxes"], atol=1e-3)
    large = np.zeros((120, 200, 3), np.uint8) + np.uint8(photos[0].mean())
    large[30:94, 100:164] = photos[0]
    found = predictor.predict(large, tile=100)[0]
    assert found["size"] == (120, 200)
    assert found["objects"]["boxes"].max() > 64


def test_tiles_are_refused_for_other_kinds(shapes_checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"tile=32: tiles are for masks alone or objects alone; .* label, bbox, mask"):
        visiontasks.load(str(shapes_checkpoints["all"])).check_tile(32)


# inside the model


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_an_object_is_explained_by_its_place(method: Any, checkpoint: Path, photos: list[np.ndarray]) -> None:
    task = restore_task(str(checkpoint))
    image = next(
        one for one in photos if Predictor(TorchNetwork(task, "cpu")).predict(one)[0]["objects"]["taken"].any()
    )
    objects = Predictor(TorchNetwork(task, "cpu")).predict(image)[0]["objects"]
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    heat = explain(task, pixels, method=method).numpy()
    x1, y1, x2, y2 = objects["boxes"][0].round().astype(int)
    inside = heat[max(0, y1 - 8) : y2 + 8, max(0, x1 - 8) : x2 + 8].sum() / heat.sum()
    share = (y2 - y1 + 16) * (x2 - x1 + 16) / heat.size
    assert inside > (share if method == "gradcam" else 0)  # a window also hides what is around
    label = int(objects["labels"][0])
    np.testing.assert_array_equal(explain(task, pixels, target=label, method=method).numpy(), heat)
    assert not explain(task, pixels, method=method, place=500).any()


def test_the_objects_of_a_class_are_numbered_by_their_score() -> None:
    found = predicted((0, 0, 1, 1, 1, 0.9), (0, 0, 2, 2, 0, 0.8), (0, 0, 3, 3, 1, 0.7))
    assert choose_object(found, None, 1)["boxes"].tolist() == [[0, 0, 2, 2]]
    assert choose_object(found, 1, 1)["boxes"].tolist() == [[0, 0, 3, 3]]
    assert not len(choose_object(found, 0, 1)["boxes"])


def test_inspect_explains_objects(checkpoint: Path, photos: list[np.ndarray], tmp_path: Path, capsys: Any) -> None:
    Image.fromarray(photos[0]).save(tmp_path / "a.png")
    main(["inspect", "explain", str(checkpoint), str(tmp_path / "a.png"), "--object", "300"])
    assert "no place of the image supports" in capsys.readouterr().out
    assert (checkpoint.parent / "inspect/explain-objects-gradcam.png").is_file()
    with pytest.raises(SystemExit):
        main(["inspect", "attack", str(checkpoint), str(tmp_path / "a.png")])
    assert "attack: the model predicts objects; it needs a head of `label`" in capsys.readouterr().err


# exported files


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_an_exported_file_finds_the_objects_of_its_checkpoint(
    kind: str, checkpoint: Path, predictor: Predictor, photos: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / f"m.{kind}"
    main(["export", str(checkpoint), "--format", kind, "--output", str(path), "--images", "0"])
    file = visiontasks.load(str(path), trust=True, device="cpu" if kind == "pt2" else "auto")
    report = json.loads(Path(f"{path}.json").read_text())["parity"]
    assert (report["images"], report["holds"], report["differences"]["objects"]) == (12, True, 0)
    assert file.network.any_size
    large = [np.tile(image, (2, 3, 1))[:100, :150] for image in photos[:2]]
    for options in ({}, {"tta": ["hflip", "1.25"]}, {"tile": 80}):
        pairs = zip(predictor.predict(large, **options), file.predict(large, **options), strict=True)
        assert all(not one.value > one.limit for pair in pairs for one in KIND.compare(*pair)), options
    task = restore_task(str(checkpoint))
    if kind == "onnx":
        import onnx

        (described,) = [entry.value for entry in onnx.load(path).metadata_props if entry.key == "visiontasks"]
        assert json.loads(described)["thresholds"]["objects"] == task.heads["objects"].thresholds.tolist()
        code = f"""
import sys, numpy as np, visiontasks
found = visiontasks.load({str(path)!r}).predict(np.zeros((90, 70, 3), np.uint8), tile=64)
assert "objects" in found[0] and not {{"torch", "lightning"}} & sys.modules.keys()"""
        subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_an_exported_file_has_the_masks_of_its_task(kind: str, tmp_path: Path) -> None:
    spec = {**SPEC, "mask_names": []}
    task = DetectionTask(spec, Backbone("test_resnet", False), partial(InstanceHead, width=16)).eval()
    torch.nn.init.normal_(task.heads["objects"].class_layer.weight, std=0.3)
    task.heads["objects"].thresholds.fill_(0.02)
    described = describe_graph(task, True, False, {})
    (write_onnx if kind == "onnx" else write_pt2)(OutputGraph(task), described, tmp_path / f"m.{kind}")
    file, expected = visiontasks.load(str(tmp_path / f"m.{kind}"), trust=True), Predictor(TorchNetwork(task, "cpu"))
    images = [np.random.default_rng(i).integers(0, 256, (70 + i, 90, 3), np.uint8) for i in range(3)]
    for options in ({}, {"tta": ["hflip", "1.5"]}, {"tile": 48}):
        for one, other in zip(expected.predict(images, **options), file.predict(images, **options), strict=True):
            assert one["objects"]["taken"].any()
            assert not [part for part in KIND.compare(one, other) if part.value > part.limit], options


def test_the_ends_of_a_graph_are_its_last_weights_and_what_follows() -> None:
    made = [
        helper.make_node("Conv", ["image", "w"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "middle"),
        helper.make_node("Conv", ["b", "w"], ["c"], "last"),
        helper.make_node("Gemm", ["a", "w"], ["d"], "shortcut"),
        helper.make_node("Add", ["c", "d"], ["e"], "sum"),
        helper.make_node("Exp", ["e"], ["out"], "boxes"),
    ]
    image, out = (helper.make_tensor_value_info(name, 1, None) for name in ("image", "out"))
    weight = helper.make_tensor("w", 1, [1], [1.0])
    graph = helper.make_graph(made, "graph", [image], [out], [weight])
    assert set(names_of_ends(graph)) == {"boxes", "sum", "last", "shortcut"}


def test_objects_of_two_models_are_compared_one_to_one() -> None:
    first = {"objects": predicted((0, 0, 20, 20, 0, 0.9), (30, 30, 50, 50, 1, 0.7))}

    def differences(*rows: tuple[Any, ...], least: float = 0.5) -> list[float]:
        return [one.value for one in KIND.compare(first, {"objects": predicted(*rows, least=least)})]

    same = [(0, 0, 20, 20, 0, 0.9), (30, 30, 50, 50, 1, 0.7)]
    assert differences(*same) == [0, 0]
    assert differences((0, 0.05, 20, 20, 0, 0.895), same[1])[1] == pytest.approx(0.005, abs=1e-6)
    assert differences(same[0]) == [1, 0]
    assert differences(*same, same[0]) == [1, 0]  # found twice
    assert differences(same[0], (30, 30, 50, 50, 0, 0.7))[0] == 2  # another class
    assert differences(same[0], (30, 30, 50, 47, 1, 0.7))[0] == 2  # another box
    assert differences(same[0], (30, 30, 50, 50, 1, 0.72))[0] == 2  # another score
    assert differences(*same, (0, 0, 5, 5, 0, 0.1)) == [0, 0]  # not taken
    assert differences(*same, least=0.8) == [0, 0]  # close to a threshold either is right


def test_a_damaged_copy_is_noticed(checkpoint: Path, predictor: Predictor, photos: list[np.ndarray]) -> None:
    task = restore_task(str(checkpoint))
    with torch.no_grad():
        task.heads["objects"].box_layer.bias += 0.05
    parity = compare(predictor, Predictor(TorchNetwork(task, "cpu")), [*given_sources(photos)])
    assert not parity.holds


def test_a_row_beside_other_heads_has_columns_of_its_own() -> None:
    sample = {
        "objects": predicted((0, 0, 4, 4, 1, 0.9)),
        "label": 0,
        "score": 0.5,
        "probabilities": np.array([0.5, 0.5]),
    }
    (row,) = rows_of(sample, SPEC)
    assert row["label"] == "dog"
    assert row["label (label)"] == "cat"
