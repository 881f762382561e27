"""Average precision: equal to pycocotools, and to itself if images are drawn with replacement."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from visiontasks.core.objects import Objects, make_objects, suppress
from visiontasks.targets import find_target
from visiontasks.targets.candidates import best_candidates
from visiontasks.targets.coco import AREAS, average_precision, match, ranked

CLASSES = 3
Images = list[tuple[Objects, Objects]]


def draw_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low, sides = rng.uniform(0, 150, (count, 2)), np.exp(rng.uniform(*np.log([5, 150]), (count, 2)))
    return np.concatenate([low, low + sides], 1)


def draw_images(seed: int) -> Images:
    """Up to 11 images, some empty or without a prediction, with crowds; with an odd seed also with ties."""
    rng, images = np.random.default_rng(seed), []
    tidy = np.round if seed % 2 else np.asarray
    for _ in range(rng.integers(2, 12)):
        true, found = draw_boxes(rng, rng.integers(0, 8)), draw_boxes(rng, rng.integers(0, 15))
        labels, guesses = rng.integers(0, CLASSES, len(true)), rng.integers(0, CLASSES, len(found))
        if len(true) and len(found):
            near = rng.integers(0, len(true), len(found))
            close = rng.random(len(found)) < 0.7
            found = np.where(close[:, None], true[near] + rng.normal(0, 4, found.shape), found)
            guesses = np.where(close & (rng.random(len(found)) < 0.9), labels[near], guesses)
        found = tidy(found).astype(np.float32)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        scores = rng.random(len(found)).round(1 if seed % 2 else 6)
        crowd = rng.random(len(true)) < 0.15
        images.append((make_objects(tidy(true), labels, crowd), {"boxes": found, "labels": guesses, "scores": scores}))
    return images


def counts_of(images: Images, threshold: float = 0.5) -> np.ndarray:
    return np.stack([match(true, found, CLASSES, found["scores"] >= threshold) for true, found in images])


def rows_of(objects: Objects, image: int) -> list[dict[str, Any]]:
    rows = []
    for place, (x1, y1, x2, y2) in enumerate(objects["boxes"].astype(float).tolist()):
        row = {"image_id": image, "category_id": int(objects["labels"][place]) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        crowd = bool(objects["crowd"][place]) if "crowd" in objects else False
        score = {"score": float(objects["scores"][place])} if "scores" in objects else {}
        rows.append({**row, **score, "area": (x2 - x1) * (y2 - y1), "iscrowd": int(crowd)})
    return rows


def by_pycocotools(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Precision (IoUs, classes, areas), averaged over recalls, and recall of the same shape; NaN where undefined."""
    true = [row for place, (objects, _) in enumerate(images, 1) for row in rows_of(objects, place)]
    found = [row for place, (_, objects) in enumerate(images, 1) for row in rows_of(objects, place)]
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": place} for place in range(1, len(images) + 1)],
            "annotations": [{**row, "id": number} for number, row in enumerate(true, 1)],
            "categories": [{"id": number} for number in range(1, CLASSES + 1)],
            "info": {},
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (evaluation.eval[key][..., -1] for key in ("precision", "recall"))
    precision, recall = (np.where(part < 0, np.nan, part) for part in (precision, recall))
    return precision.mean(1), recall


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(30, 200), marks=pytest.mark.slow)])
def test_average_precision_equals_that_of_pycocotools(seeds: range) -> None:
    for seed in seeds:
        images = draw_images(seed)
        if not any(len(found["labels"]) for _, found in images):
            continue
        precision, recall = by_pycocotools(images)
        for label, found in enumerate(ranked(counts_of(images))):
            for place in range(len(AREAS)):
                values, reached = average_precision(found, place, np.ones((1, len(images))))
                np.testing.assert_allclose(values[0], precision[:, label, place], atol=1e-9, err_msg=f"{seed}")
                np.testing.assert_allclose(reached[0], recall[:, label, place], atol=1e-9, err_msg=f"{seed}")


def test_figures_average_over_the_classes_that_occur() -> None:
    images = draw_images(4)
    precision, recall = by_pycocotools(images)
    figures = find_target("objects").figures(counts_of(images))
    assert figures["map"] == pytest.approx(np.nanmean(precision[..., 0]))
    assert figures["map50"] == pytest.approx(np.nanmean(precision[0, :, 0]))
    assert figures["map75"] == pytest.approx(np.nanmean(precision[5, :, 0]))
    assert figures["map_small"] == pytest.approx(np.nanmean(precision[..., 1]))
    assert figures["mar"] == pytest.approx(np.nanmean(recall[..., 0]))
    np.testing.assert_allclose(figures["class/ap"], precision[..., 0].mean(0))


def test_a_drawn_image_counts_as_often_as_it_is_drawn() -> None:
    images, kind = draw_images(10), find_target("objects")
    counts = counts_of(images)
    rng = np.random.default_rng(0)
    times = np.stack(
        [np.bincount(rng.integers(len(images), size=len(images)), minlength=len(images)) for _ in range(9)]
    )
    drawn = kind.figures(counts, times)
    for row, own in enumerate(times):
        alone = kind.figures(np.repeat(counts, own, axis=0))
        for name, value in alone.items():
            # a prediction that is drawn twice stands twice in a row, where pycocotools would sort images in between
            np.testing.assert_allclose(drawn[name][row], value, atol=1e-9, err_msg=name)


def test_precision_and_recall_count_the_taken_objects_at_an_iou_of_a_half() -> None:
    true = make_objects([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]], [0, 1, 1])
    found = {
        "boxes": np.array([[0, 0, 10, 9], [20, 20, 30, 24], [50, 50, 60, 60], [80, 80, 90, 90]], np.float32),
        "labels": np.array([0, 1, 1, 0]),
        "scores": np.array([0.9, 0.8, 0.2, 0.7]),
    }
    figures = find_target("objects").figures(match(true, found, 2, found["scores"] >= 0.5)[None])
    # right is the first; the second overlaps too little, the third is not taken, the fourth shows nothing
    assert [figures[name] for name in ("precision", "recall", "f1")] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert figures["class/recall"].tolist() == [1, 0]


def test_masks_are_compared_instead_of_boxes_if_both_have_them() -> None:
    corner = np.zeros((1, 20, 20), bool)
    corner[0, :10, :10] = True
    true = {**make_objects([[0, 0, 10, 10]], [0]), "masks": corner}
    found = {"boxes": np.array([[0, 0, 10, 10]], np.float32), "labels": np.array([0]), "scores": np.array([1.0])}
    half = corner.copy()
    half[0, 6:] = False
    kind, taken = find_target("objects"), np.array([True])
    assert kind.figures(match(true, found, 1, taken)[None])["map"] == 1
    assert kind.figures(match(true, {**found, "masks": half}, 1, taken)[None])["map"] == pytest.approx(0.3)  # IoU 0.6
    nothing = {**make_objects([], []), "masks": corner[:0]}
    assert match(nothing, {**found, "masks": half}, 1, taken)[0, :3].tolist() == [0, 1, 0]


def test_an_image_that_is_not_annotated_counts_nowhere() -> None:
    kind = find_target("objects")
    found = {"boxes": np.ones((1, 4), np.float32), "labels": np.array([0]), "scores": np.array([0.9])}
    prediction = {"objects": {**found, "taken": np.array([True])}}
    unknown, empty = ({}, {"objects": make_objects([], [])})
    known = kind.counts({"objects": make_objects([[0, 0, 9, 9]], [0])}, prediction, ["car"])
    pair = [np.stack([known, kind.counts(one, prediction, ["car"])]) for one in (unknown, empty)]
    assert kind.figures(pair[0])["precision"] == kind.figures(known[None])["precision"]
    assert kind.counts(empty, prediction, ["car"])[0, 4] == 1  # a false alarm
    assert (kind.counts(unknown, prediction, ["car"])[:100, 0] == -1).all()


def test_suppression_keeps_the_best_of_each_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9.5], [40, 0, 50, 10]], np.float32)
    kept = suppress(boxes, np.array([0.5, 0.9, 0.8, 0.1]), np.array([0, 0, 1, 0]), 0.6)
    assert kept.tolist() == [1, 2, 3]  # the first one overlaps with the second, which has the same class
    assert suppress(boxes[:0], np.empty(0), np.empty(0, int), 0.6).tolist() == []


def test_boxes_of_one_object_are_averaged_by_score() -> None:
    rows = np.zeros((5, 6), np.float32)  # thresholds, then candidates of two classes
    rows[1:, :4] = [[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.5], [0.0, 0.0, 0.5, 0.4], [0.6, 0.6, 0.9, 0.9]]
    rows[1:, 4:] = [[0.8, 0.0], [0.4, 0.0], [0.0, 0.6], [0.3, 0.0]]
    found = best_candidates(rows)
    assert found["labels"].tolist() == [0, 1, 0]
    third = 0.4 + 0.1 * 0.4 / 1.2  # the second box has a third of the votes; the other class has none
    expected = [[0.0, 0.0, 0.4, third], [0.0, 0.0, 0.5, 0.4], [0.6, 0.6, 0.9, 0.9]]
    np.testing.assert_allclose(found["boxes"], expected, atol=1e-6)
    np.testing.assert_allclose(found["scores"], [0.8, 0.6, 0.3])

    twice = np.zeros((4, 5), np.float32)  # the third box has votes for both others and moves them to one place
    twice[1:, :4] = [[0.0, 0.0, 1.0, 1.0], [0.26, 0.0, 1.26, 1.0], [0.13, 0.0, 1.13, 1.0]]
    twice[1:, 4] = [0.5, 0.4, 0.39]
    assert best_candidates(twice)["scores"].tolist() == [0.5]

    rows[0, 2] = 1  # objects of fused views stay as they are
    np.testing.assert_array_equal(best_candidates(rows)["boxes"], rows[[1, 3, 2, 4], :4])
