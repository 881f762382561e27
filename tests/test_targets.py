"""The kinds of targets: what each counts, which figures follow, and how outputs become predictions (all by hand)."""

from __future__ import annotations

import warnings
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.nn import functional as F
from torchmetrics import MetricCollection, SumMetric

from visiontasks.callbacks import ClosedFormStart
from visiontasks.core.draw import Canvas
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame, box_iou
from visiontasks.core.sample import Sample
from visiontasks.data import Shapes, VisionDataModule
from visiontasks.models import Backbone, BoxHead, LabelHead, LabelsHead, SMPHead, ValueHead
from visiontasks.models.heads.base import Head, Stage
from visiontasks.predict import Predictor
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets import Known, find_target, names_of, target_kinds
from visiontasks.targets.sample import predict_sample, rows_of
from visiontasks.tasks import (
    ClassificationTask,
    LocalizationTask,
    MultilabelTask,
    RegressionTask,
    SegmentationTask,
)
from visiontasks.tasks.figures import StageFigures, Tally

LABEL, BOX, MASK, VALUE = (find_target(key) for key in ("label", "bbox", "mask", "value"))
PETS = ["cat", "dog", "emu"]
NAN = float("nan")


def known(values: list[Any], frame: Frame | None = None) -> list[Known]:
    return [Known(value, lambda: frame or Frame(10, 10, 10), f"image {i}") for i, value in enumerate(values)]


def plain(figures: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in figures.items()}


def near(expected: Any) -> Any:
    return pytest.approx(expected, nan_ok=True)


def check_draws(key: str, counts: np.ndarray) -> None:
    """`times` weighs images: the same as to repeat them, and all once is what there is without it."""
    kind, rng = find_target(key), np.random.default_rng(0)
    times = np.stack([np.ones(len(counts), int), *rng.integers(0, 4, (5, len(counts)))])
    drawn, whole = kind.figures(counts, times), kind.figures(counts)
    assert list(drawn) == list(whole)
    for row, often in enumerate(times):
        expected = kind.figures(np.repeat(counts, often, axis=0))
        for name in expected:
            assert drawn[name].shape == (6, *np.shape(expected[name])), name
            np.testing.assert_allclose(drawn[name][row], expected[name], rtol=1e-9, err_msg=name)


# every kind


def test_kinds_are_found_by_their_keys() -> None:
    kinds = target_kinds()
    assert set(kinds) == {"label", "labels", "bbox", "mask", "objects", "value"}
    assert list(kinds)[-1] == "mask"  # a dense one is drawn first and is last in a table
    assert [key for key, kind in kinds.items() if kind.dense] == ["mask"]
    assert all(kind.key == key == find_target(key).key for key, kind in kinds.items())
    assert {kind.monitor for kind in kinds.values()} == {"accuracy", "map", "iou", "miou", "r2"}
    with pytest.raises(InputError, match=r"'boxes' is not the key of a target kind; there are .*Rename the key"):
        find_target("boxes")


def test_names_of_a_key_are_those_that_its_kind_asks_for() -> None:
    spec = {"class_names": PETS, "mask_names": ["ground", "pet"]}
    assert [names_of(spec, key) for key in ("label", "bbox", "mask", "value")] == [PETS, PETS, ["ground", "pet"], []]


def test_collate_fills_in_what_losses_and_figures_leave_out() -> None:
    size, box, mask = (4, 8), np.array([2, 1, 6, 4], np.float32), np.full((4, 8), 2, np.uint8)
    number = np.array([1.5, NAN], np.float32)
    cases: list[tuple[str, Any, list[str], Any, Any, type]] = [
        ("label", 2, PETS, 2, -100, np.int64),
        ("bbox", box, PETS, [0.25, 0.25, 0.75, 1], [NAN] * 4, np.float32),
        ("mask", mask, PETS, mask, np.full(size, 255), np.uint8),
        ("value", number, ["age", "height"], number, [NAN, NAN], np.float32),
    ]
    for key, value, names, there, missing, dtype in cases:
        found = find_target(key).collate([value, None], size, names)
        assert found.dtype == dtype, key
        np.testing.assert_array_equal(found, np.stack([there, missing]), err_msg=key)
        only = find_target(key).collate([None], size, names)
        np.testing.assert_array_equal(only[0], find_target(key).missing(size, names), err_msg=key)


def test_an_image_without_a_true_value_adds_nothing() -> None:
    frame = Frame(4, 8, (4, 8))
    outputs = {
        "label": np.array([0.2, 0.5, 0.3], np.float32),
        "bbox": np.array([0, 0, 1, 1], np.float32),
        "mask": np.zeros((3, 4, 8), np.float32),
        "value": np.zeros(3, np.float32),
    }
    for key, output in outputs.items():
        kind, (size, names) = find_target(key), ((4, 8), PETS)
        prediction = kind.prediction(output, frame, names)
        for truth in ({}, {key: kind.missing(size, names)}):
            counts = kind.counts(truth, prediction, names)
            assert counts.dtype == np.float64, key
            assert not counts.any(), key
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
            figures = kind.figures(counts[None])
        assert all(np.isnan(value).all() for value in figures.values()), key
        assert next(iter(figures)) == kind.monitor


# label


def label_counts(true: list[int | None], taken: list[int]) -> np.ndarray:
    truths = [{} if label is None else {"label": label} for label in true]
    return np.stack([LABEL.counts(t, {"label": p}, PETS) for t, p in zip(truths, taken, strict=True)])


def test_figures_of_labels_by_hand() -> None:
    """True are 2 cats, 2 dogs and no emu; one cat is taken for a dog, one dog for an emu; two have no label."""
    counts = label_counts([0, 0, 1, 1, None, -100], [0, 1, 1, 2, 2, 0])
    assert counts[1].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]  # true, taken, right
    assert counts.sum(0).tolist() == [[2, 2, 0], [1, 2, 1], [1, 1, 0]]
    assert plain(LABEL.figures(counts)) == {
        "accuracy": 0.5,
        "f1": near((2 / 3 + 1 / 2 + 0) / 3),
        "class/recall": near([1 / 2, 1 / 2, NAN]),
        "class/precision": near([1, 1 / 2, 0]),
        "class/f1": near([2 / 3, 1 / 2, 0]),
    }
    check_draws("label", counts)


def test_a_class_that_is_neither_true_nor_taken_is_no_part_of_the_mean_f1() -> None:
    # cat: precision 1/2, recall 1; dog: precision 1, recall 1/2
    found = LABEL.figures(label_counts([0, 1, 1], [0, 1, 0]))
    assert float(found["f1"]) == pytest.approx(2 / 3)
    assert np.isnan(found["class/f1"]).tolist() == [False, False, True]


def test_the_prediction_of_a_label_is_its_most_probable_class() -> None:
    output = np.array([0.25, 0.625, 0.125], np.float32)
    found = LABEL.prediction(output, Frame(3, 4, 8), PETS)
    assert found.keys() == {"label", "class_name", "score", "probabilities"}
    assert (found["label"], found["class_name"], found["score"]) == (1, "dog", 0.625)
    assert found["probabilities"] is output
    (row,) = LABEL.rows(found, PETS)
    shares = {"probability of cat": 0.25, "probability of dog": 0.625, "probability of emu": 0.125}
    assert row == {"label": "dog", "score": 0.625, **shares}
    assert LABEL.rows({"label": 2}, PETS) == [{"label": "emu"}]


def test_the_baseline_of_labels_is_the_share_of_each_class() -> None:
    summary = LABEL.summary(known([1, 1, 0, 1]), PETS)
    assert plain(summary) == {"counts": [1, 3, 0]}
    assert summary["counts"].dtype == np.int64
    baseline = LABEL.baseline(summary)
    assert baseline.dtype == np.float32
    assert baseline.tolist() == [0.25, 0.75, 0]
    guess = LABEL.prediction(baseline, Frame(3, 4, 8), PETS)
    assert (guess["class_name"], guess["score"]) == ("dog", 0.75)


def test_views_of_labels_are_averaged() -> None:
    views = [np.array([[0.5, 0.5], [1, 0]], np.float32), np.array([[0, 1], [0.5, 0.5]], np.float32)]
    merged = LABEL.merge(views, [(), (-1,)])
    assert merged.dtype == np.float32
    assert merged.tolist() == [[0.25, 0.75], [0.75, 0.25]]


def test_labels_are_compared_by_class_and_probability() -> None:
    one, other = ({"label": i, "probabilities": np.array([0.5 + i / 8, 0.5 - i / 8])} for i in (0, 1))
    assert [(found.value, found.value <= found.limit) for found in LABEL.compare(one, one)] == [(0, True), (0, True)]
    assert [(found.name, found.value, found.value <= found.limit) for found in LABEL.compare(one, other)] == [
        ("label", 1, False),
        ("probability", 0.125, False),
    ]


# bbox


def box_counts(
    true: list[Any], boxes: list[Any], labels: list[int | None] | None = None, taken: list[int] | None = None
) -> np.ndarray:
    """Counts of images with a true box or None, a predicted box, perhaps a true label and a predicted one."""
    counts = []
    for i, (value, box) in enumerate(zip(true, boxes, strict=True)):
        truth = {} if value is None else {"bbox": np.array(value, np.float32)}
        if labels and labels[i] is not None:
            truth["label"] = labels[i]
        guess: Sample = {"bbox": np.array(box, np.float32)}
        if taken:
            guess |= {"label": taken[i], "score": 0.5}
        counts.append(BOX.counts(truth, guess, PETS))
    return np.stack(counts)


WHOLE = [0, 0, 10, 10]


def test_figures_of_boxes_by_hand() -> None:
    """IoUs of 1, 0.5 and 0.8; one image has no box, and one box is unknown.

    0.5 is not above 0.5; 0.8 is above six of the ten thresholds, or seven if it is a bit more as a float.
    """
    boxes = [WHOLE, [0, 0, 5, 10], [0, 0, 8, 10], WHOLE, WHOLE]
    counts = box_counts([WHOLE, WHOLE, WHOLE, None, [NAN] * 4], boxes)
    found = BOX.figures(counts)
    assert list(found)[:4] == ["iou", "iou50", "iou75", "iou5095"]
    assert "localization" not in found
    assert float(found["iou"]) == pytest.approx(2.3 / 3)
    assert float(found["iou50"]) == pytest.approx(2 / 3)
    assert float(found["iou75"]) == pytest.approx(2 / 3)
    assert float(found["iou5095"]) in (pytest.approx(1.6 / 3), pytest.approx(1.7 / 3))
    check_draws("bbox", counts)


def test_localization_counts_images_whose_class_and_box_are_right() -> None:
    """Right and well placed; wrong class; right class, IoU of 0.5; without a label; without a box."""
    true, labels = [WHOLE, WHOLE, WHOLE, WHOLE, None], [0, 0, 2, None, 1]
    boxes, taken = [WHOLE, WHOLE, [0, 0, 5, 10], WHOLE, WHOLE], [0, 1, 2, 0, 1]
    counts = box_counts(true, boxes, labels, taken)
    assert float(BOX.figures(counts)["localization"]) == pytest.approx(1 / 3)
    assert float(BOX.figures(counts)["iou"]) == pytest.approx(3.5 / 4)
    check_draws("bbox", counts)
    assert "localization" not in BOX.figures(box_counts(true, boxes, labels))  # no label is predicted
    assert "localization" not in BOX.figures(box_counts(true, boxes, None, taken))  # no label is known


def test_the_iou_of_each_class_is_that_of_boxes_whose_label_is_known() -> None:
    boxes = [[0, 0, 6, 10], [0, 0, 8, 10], [0, 0, 4, 10]]
    found = BOX.figures(box_counts([WHOLE] * 3, boxes, [0, 0, 2]))
    assert found["class/iou"].tolist() == near([0.7, NAN, 0.4])
    assert found["class/iou50"].tolist() == near([1, NAN, 0])
    one = BOX.figures(np.stack([BOX.counts({"bbox": np.array(WHOLE)}, {"bbox": np.array(boxes[0])}, ["cat"])]))
    assert one["class/iou"].tolist() == pytest.approx([0.6])  # a set of one class needs no label
    found = BOX.figures(box_counts([WHOLE] * 3, boxes, [0, None, 2]))
    assert float(found["iou"]) == pytest.approx(1.8 / 3)
    assert found["class/iou"].tolist() == near([0.6, NAN, 0.4])


def test_overlaps_by_hand() -> None:
    box = np.array([0, 0, 4, 2], np.float32)
    others = np.array([[0, 0, 4, 2], [2, 0, 6, 2], [4, 0, 5, 2], [1, 1, 1, 1], [0, 0, 2, 1]], np.float32)
    assert box_iou(box, others).tolist() == pytest.approx([1, 4 / 12, 0, 0, 2 / 8])
    assert box_iou(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [0]
    assert np.isnan(box_iou(box, np.full(4, NAN)))


def test_boxes_come_back_from_every_kind_of_picture() -> None:
    """A box of relative corners is moved by hand: an image of 30 x 60, a picture of 40 x 40."""
    output = np.array([0.25, 0.25, 0.75, 0.75], np.float32)  # in the picture 10, 10, 30, 30
    expected = {
        "stretch": [15, 7.5, 45, 22.5],
        "letterbox": [15, 0, 45, 30],  # 40 x 20, ten rows of gray above: rows 10 to 30 are the whole image
        "crop": [22.5, 7.5, 37.5, 22.5],  # 80 x 40; the columns 20 to 60 are shown
    }
    for mode, corners in expected.items():
        frame = Frame(30, 60, 40, mode)  # ty: ignore[invalid-argument-type]
        found = BOX.prediction(output, frame, PETS)
        assert found.keys() == {"bbox"}
        assert found["bbox"].dtype == np.float32
        np.testing.assert_allclose(found["bbox"], corners, atol=1e-4, err_msg=mode)
        again = BOX.collate([BOX.resize(found["bbox"], frame)], (40, 40), PETS)
        np.testing.assert_allclose(again[0], output, atol=1e-6, err_msg=mode)
    beyond = BOX.prediction(np.array([0, 0, 1, 1], np.float32), Frame(30, 60, 40, "letterbox"), PETS)
    assert beyond["bbox"].tolist() == [0, 0, 60, 30]
    with pytest.raises(InputError, match="`resize: crop` cuts its box away"):
        BOX.resize(np.array([0, 0, 15, 30], np.float32), Frame(30, 60, 40, "crop"))


def test_the_only_class_of_a_set_is_that_of_every_box() -> None:
    found = BOX.prediction(np.array([0, 0, 1, 1], np.float32), Frame(3, 4, 8), ["raccoon"])
    assert (found["label"], found["class_name"]) == (0, "raccoon")
    assert BOX.rows(found, ["raccoon"]) == [{"xmin": 0, "ymin": 0, "xmax": 4, "ymax": 3}]


def test_boxes_of_flipped_views_are_turned_back() -> None:
    box = np.array([[0.1, 0.2, 0.4, 0.9]], np.float32)
    views = [box, [[0.6, 0.2, 0.9, 0.9]], [[0.1, 0.1, 0.4, 0.8]], [[0.6, 0.1, 0.9, 0.8]]]
    flips = [(), (-1,), (-2,), (-2, -1)]
    views = [np.array(view, np.float32) for view in views]
    merged = BOX.merge(views, flips)
    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged, box, atol=1e-6)
    np.testing.assert_allclose(BOX.merge([box, box], [(), (-1,)]), [[0.35, 0.2, 0.65, 0.9]], atol=1e-6)
    assert views[1].tolist() == np.array([[0.6, 0.2, 0.9, 0.9]], np.float32).tolist()


def test_the_baseline_of_boxes_is_the_mean_or_the_median_box() -> None:
    cases = [  # one far away, which the median does not see; and three whose medians are of different boxes
        ([[0.1, 0.1, 0.5, 0.6], [0.2, 0.1, 0.6, 0.7], [0.7, 0.7, 0.9, 0.8]], [0.2, 0.1, 0.6, 0.7]),
        ([[0.0, 0.3, 0.3, 0.5], [0.3, 0.4, 0.7, 0.7], [0.3, 0.0, 0.5, 0.3]], [0.2, 0.7 / 3, 0.5, 0.5]),
    ]
    for boxes, expected in cases:
        found = BOX.baseline({"boxes": np.array(boxes, np.float32)})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    frame = Frame(30, 60, 40, "letterbox")
    (found,) = BOX.summary(known([np.array([15, 0, 45, 30], np.float32)], frame), PETS)["boxes"]
    np.testing.assert_allclose(found, [0.25, 0.25, 0.75, 0.75], atol=1e-6)


def test_boxes_are_compared_by_their_farthest_corner() -> None:
    one, other = {"bbox": np.array([1, 2, 3, 4.0])}, {"bbox": np.array([1, 2.25, 3, 3.25])}
    (found,) = BOX.compare(one, other)
    assert (found.name, found.value, found.limit) == ("box in pixels", 0.75, 0.5)


# mask


def test_figures_of_masks_by_hand() -> None:
    """Of class 2 there is nothing, class 1 is found once in two pixels, and two pixels are ignored."""
    true = [np.array([[0, 0, 1, 255]], np.uint8), np.array([[0], [1], [255]], np.uint8)]
    taken = [np.array([[0, 0, 0, 2]], np.uint8), np.array([[0], [1], [1]], np.uint8)]
    pairs = zip(true, taken, strict=True)
    counts = np.stack([*(MASK.counts({"mask": t}, {"mask": p}, PETS) for t, p in pairs), np.zeros((3, 3))])
    assert counts.sum(0).tolist() == [[3, 2, 0], [4, 1, 0], [3, 1, 0]]
    assert plain(MASK.figures(counts)) == {
        "miou": near((3 / 4 + 1 / 2) / 2),
        "dice": near((6 / 7 + 2 / 3) / 2),
        "pixel_accuracy": near(4 / 5),
        "class/iou": near([3 / 4, 1 / 2, NAN]),
        "class/dice": near([6 / 7, 2 / 3, NAN]),
        "class/recall": near([1, 1 / 2, NAN]),
    }
    check_draws("mask", counts)


def test_masks_come_back_from_every_kind_of_picture() -> None:
    """The classes of interpolated logits, of the part of the picture that the image takes."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 32, 32, generator=generator)
    cases = [((64, 128), "letterbox", (16, 32)), ((50, 21), "letterbox", (32, 13)), ((50, 21), "stretch", (32, 32))]
    for size, mode, (height, width) in cases:
        top, left = (32 - height) // 2, (32 - width) // 2
        part = scores[None, :, top : top + height, left : left + width]
        expected = F.interpolate(part, size, mode="bilinear").argmax(1)[0].numpy()
        frame = Frame(*size, 32, mode)  # ty: ignore[invalid-argument-type]
        found = MASK.prediction(scores.numpy(), frame, [*"abcd"])["mask"]
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
    same = MASK.prediction(scores.numpy(), Frame(32, 32, 32), [*"abcd"])["mask"]
    np.testing.assert_array_equal(same, scores.argmax(0))


def test_a_mask_that_goes_there_and_comes_back_is_the_same_but_for_its_edges() -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[8:24, 10:40], mask[30:44, 30:60] = 1, 2
    for mode in ("stretch", "letterbox"):
        frame = Frame(48, 64, 32, mode)  # ty: ignore[invalid-argument-type]
        there = MASK.resize(mask, frame)
        assert there.shape == (32, 32)
        assert (255 in there) == (mode == "letterbox")
        output = np.eye(3, dtype=np.float32)[np.where(there == 255, 0, there)].transpose(2, 0, 1)
        back = MASK.prediction(output, frame, PETS)["mask"]
        assert back.shape == mask.shape
        assert (back != mask).mean() < 0.06


def test_views_of_masks_are_turned_back_and_their_probabilities_averaged() -> None:
    rng = np.random.default_rng(0)
    whole, flipped = rng.normal(0, 2, (2, 3, 6, 8)), rng.normal(0, 2, (2, 3, 6, 8))

    def softmax(scores: np.ndarray) -> np.ndarray:
        return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)

    for axes in ((-1,), (-2,), (-2, -1)):
        views = [whole.astype(np.float32), np.flip(flipped, axes).astype(np.float32)]
        merged = MASK.merge(views, [(), axes])
        assert merged.dtype == np.float32
        np.testing.assert_allclose(merged, (softmax(whole) + softmax(flipped)) / 2, atol=1e-6)
    one = whole.astype(np.float32)
    assert MASK.merge([one], [()]) is one
    flat = np.tile(np.array([1, 0, 2], np.float32)[None, :, None, None], (1, 1, 6, 8))
    larger = np.tile(flat, (1, 1, 2, 2))
    np.testing.assert_allclose(MASK.merge([flat, larger], [(), (-1,)]), softmax(flat), atol=1e-6)
    assert MASK.merge([flat, larger], [(), ()]).shape == (1, 3, 6, 8)


def test_the_summary_of_masks_counts_pixels_images_and_places() -> None:
    masks = [[[0, 0, 0, 1]], [[0, 0, 2, 2]], [[0, 0, 255, 255]]]
    summary = MASK.summary(known([np.array(mask, np.uint8) for mask in masks]), [*PETS, "yak"])
    assert summary["pixels"].tolist() == [7, 1, 2, 0]
    assert summary["totals"].tolist() == [10, 4, 4, 0]  # of the images in which a class occurs
    assert {part.dtype for part in summary.values()} == {np.dtype(np.int64)}
    assert summary["places"].shape == (4, 64, 64)
    assert summary["places"][:, 0, ::16].tolist() == [[3, 3, 1, 0], [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    nothing = MASK.summary([], PETS)
    assert not any(part.any() for part in nothing.values())
    with pytest.raises(InputError, match=r"image 1 has pixels of class 7, and mask_names are 3\. Name all classes"):
        MASK.summary(known([np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8)]), PETS)


def test_the_baseline_of_masks_is_the_class_at_each_place_or_overall() -> None:
    left = np.zeros((8, 8), np.uint8)
    left[:, 4:] = 2
    found = MASK.baseline(MASK.summary(known([left, left, np.zeros((6, 9), np.uint8)]), PETS))
    assert found.shape == (64, 64)
    assert found.dtype == np.float32
    assert not found[:, :32].any()
    assert (found[:, 32:] == 2).all()
    placed = MASK.prediction(found, Frame(5, 10, 32, "letterbox"), PETS)["mask"]
    assert placed.dtype == np.uint8
    assert placed.tolist() == [[0] * 5 + [2] * 5] * 5  # of the image, whatever its picture
    averaged = MASK.prediction(found * 0.9999, Frame(5, 10, 32), PETS)["mask"]
    assert averaged.tolist() == placed.tolist()
    masks = [np.zeros((8, 8), np.uint8), np.zeros((6, 9), np.uint8), np.full((5, 5), 2, np.uint8)]
    assert not MASK.baseline(MASK.summary(known(masks), PETS)).any()  # places say nothing


def test_a_row_of_a_mask_has_the_share_of_each_class() -> None:
    mask = np.array([[0, 0, 0, 2], [0, 0, 2, 2]], np.uint8)
    assert MASK.rows({"mask": mask}, PETS) == [{"share of cat": 0.625, "share of dog": 0, "share of emu": 0.375}]


def test_masks_are_compared_by_the_share_of_other_pixels() -> None:
    one = {"mask": np.zeros((100, 100), np.uint8)}
    for count, good in ((4, True), (5, False)):  # of 10,000 four may always differ
        other = {"mask": one["mask"].copy()}
        other["mask"][0, :count] = 1
        (found,) = MASK.compare(one, other)
        assert found.value == count / 10_000
        assert (found.value <= found.limit) == good


# value


def value_counts(true: Any, taken: Any) -> np.ndarray:
    pairs = zip(np.array(true, np.float32), np.array(taken, np.float32), strict=True)
    names = [str(number) for number in range(len(true[0]))]
    return np.stack([VALUE.counts({"value": t}, {"value": p}, names) for t, p in pairs])


def test_figures_of_values_by_hand() -> None:
    """Of the first number all are known, of the second three of four, of the third none."""
    true = [[1, 10, NAN], [2, NAN, NAN], [3, 30, NAN], [4, 50, NAN]]
    taken = [[1, 12, 5], [2, 99, 5], [4, 30, 5], [3, 46, 5]]
    counts = value_counts(true, taken)
    assert counts.shape == (4, 5, 3)
    assert counts[1].tolist() == [[1, 0, 0], [2, 0, 0], [4, 0, 0], [0, 0, 0], [0, 0, 0]]
    # first: errors 0, 0, 1, -1 and a variance of 5/4; second: 2, 0, -4 and 800/3
    each = {
        "r2": [1 - (2 / 4) / (5 / 4), 1 - (20 / 3) / (800 / 3), NAN],
        "mae": [2 / 4, 6 / 3, NAN],
        "rmse": [(2 / 4) ** 0.5, (20 / 3) ** 0.5, NAN],
    }
    found = VALUE.figures(counts)
    assert list(found) == ["r2", "mae", "rmse", "class/r2", "class/mae", "class/rmse"]
    for name, values in each.items():
        assert found[f"class/{name}"].tolist() == near(values)
        assert float(found[name]) == pytest.approx(sum(values[:2]) / 2)
    check_draws("value", counts[:, :, :2])


def test_figures_of_values_are_numpys() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal([0, 100, 2000], [1, 20, 3], (50, 3)).astype(np.float32)
    taken = (true + rng.normal(0, [0.5, 30, 1], (50, 3))).astype(np.float32)
    true[rng.random(true.shape) < 0.2] = NAN
    found, error = VALUE.figures(value_counts(true, taken)), taken.astype(float) - true
    for column in range(3):
        some = np.isfinite(true[:, column])
        e, t = error[some, column], true[some, column].astype(float)
        r2 = 1 - (e**2).sum() / ((t - t.mean()) ** 2).sum()
        assert found["class/r2"][column] == pytest.approx(r2, rel=1e-6)
        assert found["class/mae"][column] == pytest.approx(np.abs(e).mean())
        assert found["class/rmse"][column] == pytest.approx((e**2).mean() ** 0.5)
    assert found["class/r2"][1] < 0 < found["class/r2"][0]


def test_numbers_that_are_all_the_same_have_no_r2() -> None:
    """There is nothing to explain; a rounding error of the variance must not be taken for one."""
    for value in (0.0, 0.1, 0.3, 1234.567):
        for count in (3, 777, 5000):
            found = VALUE.figures(np.repeat(value_counts([[value]], [[value + 1]]), count, axis=0))
            assert np.isnan(found["r2"]), (value, count)
            assert float(found["mae"]) == pytest.approx(1, rel=1e-3)
    nearly = value_counts([[2000]] * 9 + [[2000.25]], [[2000]] * 10)  # these differ, if by little
    assert float(VALUE.figures(nearly)["r2"]) == pytest.approx(1 - 0.1 / 0.09)


def test_the_summary_of_values_is_that_of_the_known_ones() -> None:
    values = [np.array(pair, np.float32) for pair in ([1, NAN], [3, 4], [5, 8])]
    summary = VALUE.summary(known(values), ["age", "height"])
    assert plain(summary) == {"mean": [3, 6], "std": near([(8 / 3) ** 0.5, 2])}
    assert {part.dtype for part in summary.values()} == {np.dtype(np.float64)}
    baseline = VALUE.baseline(summary)
    assert baseline.dtype == np.float32
    assert baseline.tolist() == [3, 6]
    counts = np.stack([VALUE.counts({"value": v}, {"value": baseline}, ["age", "height"]) for v in values])
    assert float(VALUE.figures(counts)["r2"]) == pytest.approx(0)  # it is the best guess without an image


def test_predictions_of_values_are_rows_and_captions() -> None:
    output = np.array([1234567.0, 0.5], np.float32)
    found = VALUE.prediction(output, Frame(3, 4, 8), ["area", "age"])
    assert found.keys() == {"value"}
    assert found["value"] is output
    assert VALUE.rows(found, ["area", "age"]) == [{"area": 1234570, "age": 0.5}]
    texts: list[str] = []
    canvas = Canvas(np.zeros((20, 20, 3), np.uint8))
    canvas.caption = texts.append
    VALUE.draw(canvas, {"value": np.array([0.123456, NAN], np.float32)}, ["area", "age"])
    assert texts == ["area 0.1235"]
    views = [np.array([[1.0, 2]], np.float32), np.array([[3.0, 4]], np.float32)]
    assert VALUE.merge(views, [(), (-1,)]).tolist() == [[2, 3]]


def test_values_are_compared_relative_to_their_size() -> None:
    one = {"value": np.array([1000.0, 0.0])}
    for other, good in (([1000.9, 0], True), ([1001.1, 0], False), ([1000, 2e-6], False), ([1000, 5e-7], True)):
        (found,) = VALUE.compare(one, {"value": np.array(other)})
        assert (found.value <= found.limit) == good, other


# all kinds of a sample


def test_the_row_of_a_sample_has_the_columns_of_all_its_kinds() -> None:
    spec = {"class_names": PETS, "mask_names": ["ground", "pet"], "value_names": ["age"]}
    outputs = {
        "mask": np.stack([np.ones((8, 8)), np.zeros((8, 8))]).astype(np.float32),
        "bbox": np.array([0, 0, 0.5, 1], np.float32),
        "label": np.array([0.25, 0.25, 0.5], np.float32),
        "value": np.array([7], np.float32),
    }
    found = predict_sample(outputs, Frame(10, 20, 8), spec)
    assert found["size"] == (10, 20)
    (row,) = rows_of(found, spec)
    assert row == {
        **{"age": 7, "label": "emu", "score": 0.5},
        **{"probability of cat": 0.25, "probability of dog": 0.25, "probability of emu": 0.5},
        **{"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 10, "share of ground": 1, "share of pet": 0},
    }
    assert list(row)[-2:] == ["share of ground", "share of pet"]


def test_two_heads_with_the_same_class_names_have_columns_of_their_own() -> None:
    spec = {"class_names": PETS, "labels_names": [*PETS[:2], "wet"]}
    label = {"label": np.array([0.25, 0.25, 0.5], np.float32)}
    labels = {"labels": np.array([[0.75, 0.125, 1], [0.5, 0.5, 0.5]], np.float32)}
    one, other, both = (predict_sample(outputs, Frame(8, 8, 8), spec) for outputs in (label, labels, label | labels))
    (alone,), (other,), (both,) = (rows_of(sample, spec) for sample in (one, other, both))
    assert [alone] == LABEL.rows(one, PETS)
    renamed = {f"{name} (label)" if name in other else name: value for name, value in alone.items()}
    assert both == {**other, **renamed}
    assert both["probability of cat"] == 0.75
    assert both["probability of cat (label)"] == 0.25
    assert len(both) == len(alone) + len(other)


# figures of a stage


SPEC = {
    **{"class_names": PETS, "mask_names": ["ground", "pet"], "value_names": ["age", "height"]},
    **{"image_size": (8, 16), "resize": "letterbox"},
}


def make_heads() -> dict[str, Head]:
    heads: dict[str, Head] = {
        "label": LabelHead([4], 3),
        "bbox": BoxHead([4], 3, grid=1, hidden=0),
        "mask": SMPHead([3, 0, 4, 4, 4, 4, 4], 2, "FPN", width=0.25),
        "value": ValueHead([4], 2),
    }
    generator = np.random.default_rng(5)
    heads["label"].setup({"counts": np.array([1, 3, 2])})
    heads["bbox"].setup({"boxes": np.array([[0.2, 0.1, 0.7, 0.9]], np.float32)})
    places = generator.integers(0, 9, (2, 64, 64))
    heads["mask"].setup({"pixels": places.sum((1, 2)), "totals": places.sum((1, 2)) * 2, "places": places})
    heads["value"].setup({"mean": np.array([3.0, 100]), "std": np.array([2.0, 0])})
    return heads


def make_outputs(number: int = 16) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Outputs of heads for photos of several sizes, and their batch; every third image lacks every target."""
    rng = np.random.default_rng(0)
    outputs = {"label": (number, 3), "bbox": (number, 4), "mask": (number, 2, 8, 16), "value": (number, 2)}
    sizes = [(int(rng.integers(8, 30)), int(rng.integers(8, 30))) for _ in range(number)]
    truths: list[Sample] = []
    for i, (height, width) in enumerate(sizes):
        x, y = np.sort(rng.uniform(0, 1, 2)) * width, np.sort(rng.uniform(0, 1, 2)) * height
        mask = rng.choice([0, 1, 255], (height, width)).astype(np.uint8)
        truth = {"label": int(rng.integers(3)), "bbox": np.array([x[0], y[0], x[1], y[1]], np.float32), "mask": mask}
        truth["value"] = rng.normal([3, 100], 2).astype(np.float32)
        truth["value"][i % 2] = NAN
        truths.append(truth if i % 3 else {})
    images, index = torch.zeros(number, 3, 8, 16, dtype=torch.uint8), torch.arange(number)
    batch = {"image": images, "index": index, "size": torch.tensor(sizes), "truth": truths}
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(*shape, generator=generator) for key, shape in outputs.items()}, batch


def stage_values(stage: Stage, batch_size: int) -> tuple[dict[str, float], dict[str, Any]]:
    outputs, batch = make_outputs()
    figures = StageFigures(stage, make_heads(), SPEC)
    for start in range(0, 16, batch_size):
        part = slice(start, start + batch_size)
        figures.add_batch({key: value[part] for key, value in outputs.items()}, {k: v[part] for k, v in batch.items()})
    return figures.values(), figures.tables


def test_figures_of_a_stage_are_those_of_its_images_for_any_batch_size() -> None:
    """Against a plain loop over the images, in numpy."""
    heads, (outputs, batch) = make_heads(), make_outputs()
    expected: dict[str, float] = {}
    classes: dict[str, dict[str, Any]] = {}
    for key in heads:
        kind, counts, trivial = find_target(key), [], []
        names = names_of(SPEC, key)
        for i, truth in enumerate(batch["truth"]):
            frame = Frame(*batch["size"][i].tolist(), (8, 16), "letterbox")
            found = {k: heads[k].postprocess(outputs[k][i : i + 1])[0].detach().numpy() for k in ("label", key)}
            counts.append(kind.counts(truth, predict_sample(found, frame, SPEC), names))
            guess = {k: heads[k].baseline().numpy() for k in ("label", key)}
            trivial.append(kind.counts(truth, predict_sample(guess, frame, SPEC), names))
        figures = kind.figures(np.stack(counts))
        expected |= {name: float(value) for name, value in figures.items() if not value.ndim}
        expected[f"{kind.monitor}_baseline"] = float(kind.figures(np.stack(trivial))[kind.monitor])
        classes[key] = {name.removeprefix("class/"): value for name, value in figures.items() if value.ndim}
    assert {"accuracy", "f1", "iou", "localization", "miou", "pixel_accuracy", "r2", "mae"} < set(expected)
    for batch_size in (1, 5, 16):
        for stage in ("val", "test"):
            values, tables = stage_values(stage, batch_size)
            extras = {"auroc", "ece"} if stage == "test" else set()
            assert set(values) == set(expected) | extras
            assert {name: values[name] for name in expected} == near(expected)
            for key, found in classes.items():
                more = {"confusion"} if stage == "test" and key in ("label", "mask") else set()
                assert set(tables[key]) == set(found) | more
                for name, value in found.items():
                    np.testing.assert_allclose(tables[key][name], value, rtol=1e-6)


def test_confusion_matrices_of_a_test_have_true_rows_and_leave_out_what_is_unknown() -> None:
    outputs, batch = make_outputs()
    _, tables = stage_values("test", 1)
    expected = np.zeros((3, 3), int)
    for truth, taken in zip(batch["truth"], outputs["label"].argmax(1).tolist(), strict=True):
        if truth:
            expected[truth["label"], taken] += 1
    assert tables["label"]["confusion"].tolist() == expected.tolist()
    pixels = [np.bincount(truth["mask"].ravel(), minlength=256)[:2] for truth in batch["truth"] if truth]
    assert tables["mask"]["confusion"].sum(1).tolist() == np.sum(pixels, 0).tolist()


def test_the_train_counts_of_a_head_are_those_of_its_kind() -> None:
    """Where the picture is the image, a training batch counts in torch what its images count in numpy."""
    outputs, _ = make_outputs()
    rng = np.random.default_rng(1)
    corners = np.sort(rng.uniform(0, 1, (16, 2, 2)), 1).reshape(16, 4)
    truth = {
        "label": rng.integers(0, 3, 16),
        "bbox": (corners * [16, 8, 16, 8]).astype(np.float32),
        "mask": rng.choice([0, 1, 255], (16, 8, 16)).astype(np.uint8),
        "value": rng.normal([3, 100], 2, (16, 2)).astype(np.float32),
    }
    truth["value"][3, 1] = NAN
    for key, head in make_heads().items():
        kind, names = head.target, names_of(SPEC, key)
        values = [None if i % 4 == 0 else value for i, value in enumerate(truth[key])]
        target = torch.from_numpy(kind.collate(values, (8, 16), names))
        with torch.no_grad():
            counts = head.counts(outputs[key], target).double().numpy()
            scores = head.postprocess(outputs[key]).numpy()
        predictions = [kind.prediction(output, Frame(8, 16, (8, 16)), names) for output in scores]
        known_truths = [{} if value is None else {key: value} for value in values]
        pairs = list(zip(known_truths, predictions, strict=True))
        expected = sum(kind.counts(t, p, names) for t, p in pairs)
        found = counts
        if key == "bbox":  # without the shares above ten thresholds, and not by class
            found, expected = counts[:4, 0], expected[:4].sum(1)
        if key == "value":  # its figures do not depend on where zero is
            found, expected = counts[[0, 3, 4]], expected[[0, 3, 4]]
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=key)
        figures = kind.figures(np.stack([kind.counts(t, p, names) for t, p in pairs]))
        assert float(kind.figures(counts[None])[kind.monitor]) == pytest.approx(float(figures[kind.monitor]), rel=1e-4)


def test_training_figures_are_the_monitored_one_of_all_batches_until_they_are_reset() -> None:
    heads, (outputs, _) = make_heads(), make_outputs()
    only = {"label": heads["label"]}
    figures = StageFigures("train", only, SPEC)
    assert figures.values() == {}  # nothing was counted
    labels = torch.tensor([0, 1, 2, -100] * 4)
    for part in (slice(0, 5), slice(5, 16)):
        figures.add_training_batch({"label": outputs["label"][part]}, {"label": labels[part]})
    right = outputs["label"].argmax(1) == labels
    assert figures.values() == {"accuracy": pytest.approx(float(right.sum()) / 12)}
    figures.reset()
    assert figures.values() == {}


def test_counts_are_summed_or_listed() -> None:
    """Those of several processes: test_ddp.py."""
    one, two = np.array([[1.0, 2]]), np.array([[3.0, 4]])
    for additive, expected in ((True, [[[4, 6]]]), (False, [[[1, 2]], [[3, 4]]])):
        tally = Tally(SimpleNamespace(additive=additive))
        tally.add(one)
        tally.add(two if additive else torch.from_numpy(two)[None])  # as of a training batch
        assert tally.gather().tolist() == expected
        assert tally.gather().dtype == np.float64
    assert one.tolist() == [[1, 2]]


def test_figures_go_on_from_a_checkpoint_without_another_rounding() -> None:
    heads = {"labels": LabelsHead([4], 2), "value": ValueHead([4], 2)}
    outputs = {"labels": torch.randn(64, 2, 2).sigmoid()[:, 0], "value": torch.randn(64, 2)}
    targets = {"labels": (torch.randn(64, 2) > 0).float(), "value": torch.randn(64, 2)}

    def add(figures: StageFigures, *places: int) -> StageFigures:
        for place in places:
            part = slice(4 * place, 4 * place + 4)
            batch = [{key: values[part] for key, values in every.items()} for every in (outputs, targets)]
            figures.add_training_batch(*batch)
            figures.add_loss(outputs["value"][part].mean(), 4)
        return figures

    def new() -> StageFigures:
        return StageFigures("train", heads, {})

    expected = add(new(), *range(16)).values()
    for place in range(1, 16):
        figures = new()
        figures.restore(add(new(), *range(place)).state(), 0, 1)
        assert add(figures, *range(place, 16)).values() == expected
    first, second = (add(new(), *places).state()["ranks"] for places in (range(0, 8), range(8, 16)))
    figures.restore({"ranks": [*first, *second]}, 0, 1)  # of two processes
    assert figures.values() == pytest.approx(expected, abs=1e-6)
    figures.restore({"ranks": [*first, *second]}, 1, 2)
    assert figures.values() == add(new(), *range(8, 16)).values()
    figures.restore({"ranks": [*first, *second]}, 1, 3)
    assert figures.values() == {}


def test_counts_of_a_network_in_half_precision_are_exact() -> None:
    """bfloat16 cannot count beyond 256."""
    figures = StageFigures("train", {"label": LabelHead([4], 2)}, {"class_names": ["a", "b"]}).to(torch.bfloat16)
    scores = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16).expand(1001, 2)
    labels = torch.zeros(1001, dtype=torch.int64)
    labels[-1] = 1
    for _ in range(3):
        figures.add_training_batch({"label": scores}, {"label": labels})
    assert figures.values()["accuracy"] == 1000 / 1001


def test_a_head_calibrates_by_the_counts_only_where_it_may() -> None:
    head, asked = LabelHead([4], 3), []
    head.calibrate = lambda counts: asked.append(counts.shape) or counts
    figures = StageFigures("val", {"label": head}, SPEC)
    outputs, batch = make_outputs()
    figures.add_batch({"label": outputs["label"]}, batch)
    before = figures.values()
    assert asked == []
    figures.calibrate()
    assert figures.values() == before
    assert asked == [(1, 3, 3)]


make_value_head = partial(ValueHead, [4])


def test_a_value_head_answers_in_the_units_of_its_training_set() -> None:
    head = make_value_head(2)
    head.setup({"mean": np.array([10.0, -5]), "std": np.array([2.0, 0])})  # the second never changes
    torch.testing.assert_close(head.postprocess(torch.tensor([[1.0, 3]])), torch.tensor([[12.0, -2]]))
    output, target = torch.tensor([[1.0, 3], [0, 0]]), torch.tensor([[10.0, -5], [14, NAN]])
    assert float(head.loss(output, target)) == pytest.approx(((1 - 0) ** 2 + 3**2 + (0 - 2) ** 2) / 3)
    assert head.baseline().tolist() == [10, -5]
    assert {"mean", "std"} <= head.state_dict().keys()
    maps = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = maps.mean((2, 3)) @ head.regressor.weight.T + head.regressor.bias
    torch.testing.assert_close(head([maps]), expected)
    torch.testing.assert_close(head.design([maps]), maps.mean((2, 3)))
    with pytest.raises(InputError, match="ValueHead: the data has no numbers"):
        make_value_head(0)


def test_the_closed_form_finds_numbers_that_are_linear_in_the_features() -> None:
    generator = torch.Generator().manual_seed(0)
    design = torch.randn(80, 4, generator=generator)
    target = design @ torch.tensor([[1.0, 0], [0, 20], [2, 0], [0, -5]]) + torch.tensor([100.0, -3])
    head = make_value_head(2)
    head.setup({"mean": target.double().mean(0).numpy(), "std": target.double().std(0, correction=0).numpy()})
    some = target.clone()
    some[7, 1] = NAN
    found = head.solve(design, some, torch.arange(80))
    assert found["left_out_r2"] > 0.999
    with torch.no_grad():
        torch.testing.assert_close(head.postprocess(head([design[..., None, None]])), target, rtol=0.01, atol=0.3)


def test_train_figures_of_large_numbers_are_those_of_double_precision() -> None:
    """Years: in single precision their squares are as far off as their variance."""
    rng = np.random.default_rng(0)
    years = rng.normal(2000, 1, (64, 1)).round(2).astype(np.float32)
    head = make_value_head(1)
    head.setup({"mean": np.array([2000.0]), "std": np.array([1.0])})
    output = torch.from_numpy(years - 2000 + rng.normal(0, 0.3, (64, 1)).astype(np.float32))
    found = VALUE.figures(head.counts(output, torch.from_numpy(years)).numpy()[None])
    taken = head.postprocess(output).numpy().astype(float)
    expected = 1 - ((taken - years) ** 2).mean() / years.astype(float).var()
    assert float(found["r2"]) == pytest.approx(expected, abs=1e-4)


def test_regression_learns_the_area_of_shapes_and_counts_what_is_right(tmp_path: Path) -> None:
    seed_everything(0, verbose=False)
    data = VisionDataModule(partial(Shapes, count=64, size=32), 32, augment="none", batch_size=8)
    task = RegressionTask(data.spec, Backbone("test_resnet", False), optimizer=partial(torch.optim.AdamW, lr=3e-3))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"callbacks": [ClosedFormStart()], "logger": False, "default_root_dir": tmp_path, **quiet}
    trainer = Trainer(accelerator="cpu", max_epochs=4, **options)
    trainer.fit(task, data)
    assert task.monitor == "val/r2"
    assert trainer.callback_metrics["train/r2"] > trainer.callback_metrics["val/r2_baseline"] + 0.1
    trainer.test(task, data, verbose=False)
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    test = data.dataset("test")
    predictions = Predictor(TorchNetwork(task)).predict([test.image(i) for i in range(16)])
    true, taken = (
        np.stack([one["value"] for one in many]) for many in ([test.target(i) for i in range(16)], predictions)
    )
    error = taken.astype(float) - true
    assert found["test/r2"] == pytest.approx(1 - float((error**2).mean() / true.astype(float).var()), abs=1e-4)
    assert found["test/mae"] == pytest.approx(float(np.abs(error).mean()), abs=1e-5)
    assert found["test/rmse"] == pytest.approx(float((error**2).mean() ** 0.5), abs=1e-5)
    mean = np.mean([data.dataset("train").target(i)["value"] for i in range(64)])
    baseline = 1 - ((mean - true) ** 2).mean() / true.var()
    assert found["test/r2_baseline"] == pytest.approx(float(baseline), abs=1e-4)
    assert found["test/r2_baseline"] <= 0
    assert {name: value.tolist() for name, value in task.tables()["value"].items()} == {
        name: pytest.approx([found[f"test/{name}"]]) for name in ("r2", "mae", "rmse")
    }


TASKS = (ClassificationTask, MultilabelTask, RegressionTask, SegmentationTask, LocalizationTask)


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("make", TASKS)
def test_figures_in_half_precision_are_those_of_the_same_outputs_in_float32(
    make: Any, precision: Any, tmp_path: Path
) -> None:
    class Watch(Callback):
        def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
            exact.add_batch({key: output.float() for key, output in outputs.items()}, batch)

    seed_everything(0, verbose=False)
    data = VisionDataModule(partial(Shapes, count=64, size=32), 32, augment="none", batch_size=8)
    task = make(data.spec, Backbone("test_resnet", False))
    for key, head in task.heads.items():
        head.setup(data.summary(key))
    exact = StageFigures("test", deepcopy(dict(task.heads)), data.spec)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    trainer = Trainer(precision=precision, callbacks=[Watch()], default_root_dir=tmp_path, **quiet)
    (found,) = trainer.test(task, data, verbose=False)
    expected = {f"test/{name}": value for name, value in exact.values().items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert task.figures["test_"].loss.dtype == torch.float32


def test_metrics_of_a_head_count_beyond_256_in_half_precision() -> None:
    class Extra(LabelHead):
        def extras(self, stage: Stage) -> MetricCollection:
            return MetricCollection({"mean": SumMetric()})

        def extra_inputs(self, predictions: Any, truths: Any) -> Any:
            return (torch.ones(len(truths)),)

    figures = StageFigures("val", {"label": Extra([4], 3)}, SPEC).to(torch.bfloat16)
    figures.reset()
    outputs, batch = make_outputs()
    for _ in range(20):
        figures.add_batch({"label": outputs["label"]}, batch)
    assert figures.values()["mean"] == 320
