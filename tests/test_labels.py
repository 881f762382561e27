"""`labels`, any number of classes per image: figures and losses by hand, thresholds, closed form, sets (T5)."""

import csv
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import (
    MultilabelAveragePrecision,
    MultilabelF1Score,
    MultilabelPrecision,
    MultilabelRecall,
)

import visiontasks
from visiontasks.callbacks import ClosedFormStart
from visiontasks.cli import main
from visiontasks.cli.training import main as train
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.data import CocoBoxes, CsvTable, Shapes, VisionDataModule, VocBoxes
from visiontasks.data.splits import Splits
from visiontasks.evaluate import bootstrap, describe_intervals
from visiontasks.losses import Asymmetric, BinaryCrossEntropy, BinaryFocal, CrossEntropy, Loss
from visiontasks.models import Backbone, LabelsHead
from visiontasks.models.heads.labels import best_threshold, fit_platt
from visiontasks.models.ridge import fit_ridge
from visiontasks.predict import Predictor
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets import Known, find_target
from visiontasks.targets.precision import EXACT, FEW, average_precision, linear_precision
from visiontasks.tasks import MultilabelTask
from visiontasks.tasks.checkpoint import read_checkpoint

LABELS = find_target("labels")
NAMES = ["cat", "dog", "emu"]
NAN = float("nan")
EVERYTHING = Splits(val=0.0)


# figures


def make_counts(probabilities: Any, true: Any, thresholds: Any = 0.5) -> np.ndarray:
    """Counts of images (N, 3, classes) from probabilities and true values (N, classes)."""
    probabilities, true = np.array(probabilities, np.float32), np.array(true, np.float32)
    thresholds = np.broadcast_to(np.float32(thresholds), probabilities.shape)
    frame, found = Frame(4, 4, 4), []
    for output, value in zip(np.stack([probabilities, thresholds], 1), true, strict=True):
        found.append(LABELS.counts({"labels": value}, LABELS.prediction(output, frame, NAMES), NAMES))
    return np.stack(found)


def draw_counts(number: int = 60, classes: int = 5, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 1, (number, classes)).astype(np.float32)
    true = (rng.uniform(0, 1, probabilities.shape) < 0.2 + 0.6 * probabilities).astype(np.float32)
    return (probabilities.round(1) if ties else probabilities), true


def test_figures_by_hand() -> None:
    """The cat is found first, third; the dog is always right; no image has an emu."""
    probabilities = [[0.9, 0.8, 0.1], [0.7, 0.1, 0.6], [0.6, 0.9, 0.2], [0.2, 0.3, 0.3]]
    true = [[1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]]
    found = LABELS.figures(make_counts(probabilities, true))
    assert next(iter(found)) == LABELS.monitor == "map"
    cat = (1 + 2 / 3) / 2  # precision where each cat is found
    np.testing.assert_allclose(found["class/ap"], [cat, 1, NAN])
    np.testing.assert_allclose(found["class/precision"], [2 / 3, 1, 0])
    np.testing.assert_allclose(found["class/recall"], [1, 1, NAN])
    np.testing.assert_allclose(found["class/f1"], [4 / 5, 1, NAN])
    assert float(found["map"]) == pytest.approx((cat + 1) / 2)
    assert float(found["f1"]) == pytest.approx((4 / 5 + 1) / 2)  # of the classes that occur
    assert float(found["micro_f1"]) == pytest.approx(2 * 4 / (4 + 6))  # and of all decisions


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_figures_are_those_of_torchmetrics(ties: bool, unknown: bool) -> None:
    probabilities, true = draw_counts(ties=ties)
    if unknown:
        true[np.random.default_rng(1).uniform(size=true.shape) < 0.3] = NAN
    found = LABELS.figures(make_counts(probabilities, true, 0.45))  # no probability is equal to it
    scores, targets = torch.from_numpy(probabilities), torch.from_numpy(np.nan_to_num(true, nan=-1)).long()
    options: dict[str, Any] = {"num_labels": 5, "ignore_index": -1 if unknown else None}
    ap = MultilabelAveragePrecision(average="none", thresholds=None, **options)(scores, targets)
    np.testing.assert_allclose(found["class/ap"], ap, rtol=1e-5)
    assert float(found["map"]) == pytest.approx(float(ap.mean()), rel=1e-5)
    for name, metric in (("f1", MultilabelF1Score), ("precision", MultilabelPrecision), ("recall", MultilabelRecall)):
        expected = metric(threshold=0.45, average="none", **options)(scores, targets)
        np.testing.assert_allclose(found[f"class/{name}"], expected, rtol=1e-5, err_msg=name)
    expected = MultilabelF1Score(threshold=0.45, average="micro", **options)(scores, targets)
    assert float(found["micro_f1"]) == pytest.approx(float(expected), rel=1e-5)


def test_equal_probabilities_are_taken_together_in_any_order() -> None:
    """Of four images with one score two have the class: all are taken at once, with precision one half."""
    for true in ([1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]):
        found = average_precision(np.full(4, 0.5), np.array(true) == 1, np.ones((1, 4)))
        assert found.tolist() == [0.5]
    assert np.isnan(average_precision(np.array([0.5, 0.1]), np.zeros(2, bool), np.ones((1, 2)))).all()


def test_times_equals_repeating_images() -> None:
    for ties in (False, True):
        probabilities, true = draw_counts(30, 4, ties)
        true[np.random.default_rng(1).uniform(size=true.shape) < 0.2] = NAN
        true[:, 3] = np.arange(30) == 7  # a class that some draws lack
        counts, rng = make_counts(probabilities, true), np.random.default_rng(0)
        times = np.stack([np.ones(30, int), *rng.integers(0, 4, (5, 30)), *(np.arange(30)[None] != [[7]])])
        drawn = LABELS.figures(counts, times)
        for row, often in enumerate(times):
            for name, expected in LABELS.figures(np.repeat(counts, often, axis=0)).items():
                assert drawn[name].shape == (len(times), *np.shape(expected)), name
                np.testing.assert_allclose(drawn[name][row], expected, rtol=1e-9, err_msg=name)
        assert np.isnan(drawn["class/ap"][-1, 3])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("positives", [3, FEW - 1, FEW, 150])
def test_linear_precision_has_the_derivatives_of_average_precision(positives: int, ties: bool) -> None:
    rng = np.random.default_rng(0)
    positive = rng.permutation(200) < positives
    probability = (rng.normal(size=200) + positive).round(0 if ties else 9)
    times = 1 + 1e-6 * np.concatenate([np.eye(200), -np.eye(200)])
    start, slopes = linear_precision(probability, positive, times.T, np.arange(200))
    expected = average_precision(probability, positive, times) * (times @ positive)
    up, down = (start + (times - 1) @ slopes - expected).reshape(2, 200)
    np.testing.assert_allclose([up, down], 0, atol=1e-9)  # the second order is 1e-12
    np.testing.assert_allclose((up - down) / 2e-6, 0, atol=1e-6)
    often = rng.integers(0, 4, (5, EXACT)).astype(float)  # so few images count exactly
    few = probability[:EXACT], positive[:EXACT]
    start, slopes = linear_precision(*few, often.T, np.arange(EXACT))
    np.testing.assert_allclose(start / (often @ few[1]), average_precision(*few, often), rtol=1e-9)
    assert not slopes.any()


def make_rare(seed: int) -> np.ndarray:
    """Counts of 800 images with six classes, from rare to frequent, found well and badly; a fifth is unknown."""
    rng = np.random.default_rng(0)
    true = (rng.permuted(np.tile(np.arange(800), (6, 1)), axis=1).T < [6, 12, 40, 80, 200, 400]).astype(float)
    scores = rng.normal(size=true.shape) + true * [2, 1, 2, 1, 2, 1]
    scores += 0.3 * np.random.default_rng(seed).normal(size=true.shape)
    true[rng.uniform(size=true.shape) < 0.2] = NAN
    return make_counts(1 / (1 + np.exp(1 - scores)), true)


def test_intervals_of_large_sets_are_those_of_the_exact_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ends of an interval move by at most 5 % of its width; draws of another seed move them by more."""
    counts = make_rare(1)
    assert LABELS.is_exact(counts, 2000)
    for other in (None, make_rare(2)):
        monkeypatch.undo()
        expected = bootstrap("labels", counts, other=other)
        monkeypatch.setattr(type(LABELS), "exact_up_to", 0)
        found = bootstrap("labels", counts, other=other)
        for name in ("map", "class/ap"):
            for one, two in zip(expected.pop(name), found.pop(name), strict=True):
                assert np.abs(np.subtract(one, two)).max() <= 0.05 * (one.high - one.low), (name, one, two)
        assert found == expected
    assert describe_intervals({"labels": counts}, 2000).endswith(
        "average precision of labels to first order, large set"
    )


def test_what_is_unknown_is_in_no_figure() -> None:
    probabilities, true = draw_counts(20, 3)
    known = true.copy()
    true[::2, 1] = NAN
    found = LABELS.figures(make_counts(probabilities, true))
    only = LABELS.figures(make_counts(probabilities[1::2], known[1::2]))
    whole = LABELS.figures(make_counts(probabilities, known))
    for name in ("ap", "f1", "precision", "recall"):
        expected = [whole[f"class/{name}"][0], only[f"class/{name}"][1], whole[f"class/{name}"][2]]
        np.testing.assert_allclose(found[f"class/{name}"], expected)
    prediction = LABELS.prediction(np.full((2, 3), 0.5, np.float32), Frame(4, 4, 4), NAMES)
    for truth in ({}, {"labels": LABELS.missing((4, 4), NAMES)}):
        counts = LABELS.counts(truth, prediction, NAMES)
        assert counts.dtype == np.float64
        assert all(np.isnan(value).all() for value in LABELS.figures(counts[None]).values())


def test_the_baseline_is_the_share_of_each_class_where_it_is_known() -> None:
    values = [np.array(row, np.float32) for row in ([1, 0, NAN], [1, 1, NAN], [0, NAN, NAN], [1, 0, NAN])]
    summary = LABELS.summary([Known(value, lambda: Frame(4, 4, 4), "") for value in values], NAMES)
    assert {name: part.tolist() for name, part in summary.items()} == {"positives": [3, 1, 0], "known": [4, 3, 0]}
    baseline = LABELS.baseline(summary)
    assert baseline.dtype == np.float32
    np.testing.assert_allclose(baseline, [[0.75, 1 / 3, 0], [0.5, 0.5, 0.5]])
    # one score for all images: the precision is the share of the class
    guess = LABELS.figures(make_counts(np.tile(baseline[0], (4, 1)), values))
    np.testing.assert_allclose(guess["class/ap"], [0.75, 1 / 3, NAN])


def test_predictions_rows_and_comparisons() -> None:
    output = np.array([[0.25, 0.625, 0.5], [0.25, 0.75, 0.5]], np.float32)
    found = LABELS.prediction(output, Frame(4, 4, 4), NAMES)
    assert found["labels"].tolist() == [1, 0, 1]  # a threshold is reached by what is equal to it
    assert LABELS.rows(found, NAMES) == [
        {"labels": "cat; emu", "probability of cat": 0.25, "probability of dog": 0.625, "probability of emu": 0.5}
    ]
    other = LABELS.prediction(output + np.array([[0.125, 0.1875, 0], [0, 0, 0]], np.float32), Frame(4, 4, 4), NAMES)
    same, far = LABELS.compare(found, found), LABELS.compare(found, other)
    assert all(one.value <= one.limit for one in same)
    assert [(one.name, one.value, one.value <= one.limit) for one in far] == [
        *(("labels", 1, False), ("probability", 0.1875, False))
    ]
    near = LABELS.prediction(output - np.array([[0.005] * 3, [0] * 3], np.float32), Frame(4, 4, 4), NAMES)
    assert near["labels"].tolist() == [0, 0, 0]  # at the threshold either is right
    assert all(one.value <= one.limit for one in LABELS.compare(found, near))
    merged = LABELS.merge([output[None], output[None] * 0.5], [(), (-1,)])
    np.testing.assert_allclose(merged, output[None] * 0.75)


# losses

LOSSES = [BinaryCrossEntropy(), BinaryCrossEntropy(0.1, [1.0, 2.0, 0.5]), BinaryFocal(), BinaryFocal(0.5), Asymmetric()]


def draw_logits(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(6, 3, generator=generator)
    return logits.requires_grad_(), torch.randint(0, 2, (6, 3), generator=generator).float()


def test_cross_entropy_is_that_of_torch() -> None:
    logits, target = draw_logits()
    torch.testing.assert_close(BinaryCrossEntropy()(logits, target), F.binary_cross_entropy_with_logits(logits, target))
    weights = torch.tensor([3.0, 0.5, 2.0])
    expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weights)
    torch.testing.assert_close(BinaryCrossEntropy(class_weights=weights.tolist())(logits, target), expected)
    expected = F.binary_cross_entropy_with_logits(logits, 0.8 * target + 0.1)
    torch.testing.assert_close(BinaryCrossEntropy(label_smoothing=0.2)(logits, target), expected)


def test_inverse_weights_are_negative_over_positive_examples() -> None:
    logits, target = draw_logits()
    loss = BinaryCrossEntropy(class_weights="inverse")
    torch.testing.assert_close(loss(logits, target), BinaryCrossEntropy()(logits, target))  # not known yet
    shares = torch.tensor([0.25, 0.8, 0.0])  # the last never occurs
    loss.set_label_counts(shares, shares)
    expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor([3.0, 0.25, 1.0]))
    torch.testing.assert_close(loss(logits, target), expected)


def test_focal_is_the_papers_formula_and_cross_entropy_for_gamma_0() -> None:
    logits, target = draw_logits()
    torch.testing.assert_close(BinaryFocal(0.0)(logits, target), BinaryCrossEntropy()(logits, target))
    p = logits.sigmoid()
    right = torch.where(target == 1, p, 1 - p)
    torch.testing.assert_close(BinaryFocal(2.0)(logits, target), (-((1 - right) ** 2) * right.log()).mean())
    weighted = torch.where(target == 1, torch.tensor([3.0, 0.5, 2.0]), 1.0) * -((1 - right) ** 1.5) * right.log()
    torch.testing.assert_close(BinaryFocal(1.5, [3.0, 0.5, 2.0])(logits, target), weighted.mean())


def test_the_asymmetric_loss_by_hand() -> None:
    probabilities = torch.tensor([[0.8, 0.5, 0.03]])
    found = Asymmetric(4.0, 1.0, 0.05)(probabilities.logit(), torch.tensor([[1.0, 0, 0]]))
    positive, negative = -0.2 * math.log(0.8), -(0.45**4) * math.log(0.55)
    assert float(found) == pytest.approx((positive + negative + 0) / 3, rel=1e-4)  # 0.03 is below the margin
    logits, target = draw_logits()
    plain = Asymmetric(0.0, 0.0, 0.0)(logits, target)
    torch.testing.assert_close(plain, BinaryCrossEntropy()(logits, target), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_unknown_labels_add_nothing_to_a_loss_and_gradients_are_finite(loss: Loss) -> None:
    logits, target = draw_logits()
    some = target.clone()
    some[1:, 0] = NAN
    some[:, 2] = NAN
    found = loss(logits, some)
    found.backward()
    known = some.isfinite()
    assert logits.grad is not None
    assert not logits.grad[~known].any()
    assert logits.grad[known].all()
    if getattr(loss, "weights", None) is None:
        torch.testing.assert_close(found, loss(logits[known][:, None], target[known][:, None]))
    for extreme in (-200.0, -30.0, 0.0, 30.0, 200.0):
        hard = torch.full((2, 3), extreme, requires_grad=True)
        value = loss(hard, torch.tensor([[0.0] * 3, [1.0] * 3]))
        value.backward()
        assert value.isfinite()
        assert hard.grad is not None
        assert hard.grad.isfinite().all()
    nothing = torch.zeros(2, 3, requires_grad=True)
    value = loss(nothing, torch.full((2, 3), NAN))
    value.backward()
    assert value == 0
    assert nothing.grad is not None
    assert not nothing.grad.any()
    half = loss(logits.detach().bfloat16(), target)
    assert half.dtype == torch.float32


def test_mistakes_in_losses_are_named() -> None:
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: BinaryCrossEntropy(1.0), r"label_smoothing: 1.0 must be at least 0 and below 1"),
        (lambda: BinaryFocal(-1.0), r"gamma: -1.0 must not be negative"),
        (lambda: Asymmetric(-1.0), "Asymmetric: gamma_negative=-1.0"),
        (lambda: Asymmetric(margin=1.0), "margin=1.0 in 0..1"),
        (
            lambda: LabelsHead([4], 3, loss=BinaryCrossEntropy(class_weights=[1.0, 2.0])).load_state_dict(
                LabelsHead([4], 3).state_dict()
            ),
            "class_weights: 2 weights for 3 classes",
        ),
        (lambda: LabelsHead([4], 3, loss=CrossEntropy()), "CrossEntropy compares classes; use a loss of labels"),
        (lambda: LabelsHead([4], 0), "the data has no `labels`"),
    ]
    for make, message in cases:
        with pytest.raises(InputError, match=message):
            make()


# the head


def test_the_best_threshold_has_the_highest_f1_of_all() -> None:
    for ties in (False, True):
        probabilities, true = draw_counts(40, 6, ties)
        for one, positive in zip(probabilities.T.astype(float), true.T == 1, strict=True):
            best = best_threshold(one, positive)
            assert best is not None
            scores = {
                threshold: 2 * (positive & (one >= threshold)).sum() / (positive.sum() + (one >= threshold).sum())
                for threshold in (*np.unique(one), best)
            }
            assert scores[best] == max(scores.values())
    assert best_threshold(np.array([0.9, 0.5, 0.25]), np.array([True, True, False])) == 0.375  # in the middle
    assert best_threshold(np.array([0.5]), np.array([True])) == 0.25
    assert best_threshold(np.array([0.5]), np.array([False])) is None


def test_thresholds_are_calibrated_on_what_is_known_and_stored() -> None:
    head = LabelsHead([4], 3)
    counts = make_counts([[0.9, 0.1, 0.2], [0.6, 0.2, 0.4], [0.1, 0.7, 0.3]], [[1, 0, 0], [0, 1, 0], [NAN, 1, 0]])
    found = head.calibrate(counts)
    np.testing.assert_allclose(head.thresholds, [0.75, 0.15, 0.5], rtol=1e-6)  # the last class does not occur
    np.testing.assert_allclose(found[:, 2], np.tile(head.thresholds, (3, 1)))
    assert (found[:, :2] == counts[:, :2])[np.isfinite(counts[:, :2])].all()
    assert float(LABELS.figures(found)["f1"]) == 1
    assert (counts[:, 2] == 0.5).all()
    output = head.postprocess(torch.zeros(2, 3))
    assert output.shape == (2, 2, 3)
    np.testing.assert_allclose(output[1], [[0.5] * 3, head.thresholds.tolist()])
    again = LabelsHead([4], 3)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.thresholds, head.thresholds)


def test_the_train_counts_of_the_head_are_those_of_its_kind() -> None:
    head, (logits, target) = LabelsHead([4], 3), draw_logits()
    target[0, 1] = NAN
    counts = head.counts(logits.detach(), target).double().numpy()
    np.testing.assert_allclose(counts, make_counts(logits.detach().sigmoid(), target), rtol=1e-6)


def test_platts_scaling_finds_the_slope_and_shift_of_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, generator=generator)
    target = (torch.rand(20_000, generator=generator) < (2 * x - 1).sigmoid()).float()
    assert fit_platt(x, target) == (pytest.approx(2, abs=0.1), pytest.approx(-1, abs=0.1))
    for alone in (torch.zeros(20), torch.ones(20)):  # only one value: finite all the same
        assert all(math.isfinite(value) for value in fit_platt(torch.randn(20, generator=generator), alone))


def test_the_closed_form_leaves_out_what_is_unknown() -> None:
    generator = torch.Generator().manual_seed(0)
    design = torch.randn(120, 4, generator=generator)
    target = (design @ torch.tensor([[2.0, 0], [-1, 1], [0, 3], [0, 0]]) > 0.2).float()
    some = target.clone()
    some[80:, 1] = NAN
    every, part, only = (LabelsHead([4], 2) for _ in range(3))
    every.solve(design, target, torch.arange(120))
    part.solve(design, some, torch.arange(120))
    only.solve(design[:80], target[:80], torch.arange(80))
    torch.testing.assert_close(part.classifier.weight[0], every.classifier.weight[0])
    torch.testing.assert_close(part.classifier.weight[1], only.classifier.weight[1])
    torch.testing.assert_close(part.classifier.bias[1], only.classifier.bias[1])
    right = (every([design[..., None, None]]) > 0) == (target == 1)
    assert right.float().mean() > 0.95


def test_the_closed_form_chooses_thresholds_on_images_that_it_has_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    design, index = torch.randn(200, 3, generator=generator), torch.arange(200)
    target = (design[:, :2] + torch.randn(200, 2, generator=generator) > 1.5).float()  # rare: 0.5 is too high
    head, ridge = LabelsHead([3], 2), fit_ridge(design, target)
    head.solve(design, target, index)
    assert (head.thresholds < 0.45).all()
    for number, (output, true) in enumerate(zip(ridge.left_out.T, target.T, strict=True)):
        slope, shift = fit_platt(output, true)
        best = best_threshold((slope * output + shift).sigmoid().numpy(), true.numpy() == 1)
        assert float(head.thresholds[number]) == pytest.approx(best)


def test_the_closed_form_reports_its_strength_and_the_left_out_map() -> None:
    generator = torch.Generator().manual_seed(0)
    design, index = torch.randn(90, 3, generator=generator), torch.arange(90)
    target = (design[:, :2] + torch.randn(90, 2, generator=generator) > 0.5).float()
    found, ridge = LabelsHead([3], 2).solve(design, target, index), fit_ridge(design, target)
    scores = MultilabelAveragePrecision(num_labels=2, average="macro")(ridge.left_out, target.int())
    assert found == {"strength": ridge.strength, "left_out_map": pytest.approx(float(scores), abs=1e-6)}
    some = torch.cat([target, torch.full((90, 1), NAN)], 1)
    some[:10, 0] = NAN
    head = LabelsHead([3], 3)
    before = head.classifier.weight[2].clone()
    found = head.solve(design, some, index)
    strengths = [
        fit_ridge(design[rows], target[rows, n : n + 1]).strength for n, rows in enumerate([index >= 10, index >= 0])
    ]
    assert found["strength"] == pytest.approx(sum(strengths) / 2)
    assert torch.equal(head.classifier.weight[2], before)  # of a class that is never known


def shapes_data(**options: Any) -> VisionDataModule:
    return VisionDataModule(partial(Shapes, count=240, size=32, difficulty=0.0), 32, augment="none", **options)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trainer, task and data of a short fit."""
    seed_everything(0, verbose=False)
    data = shapes_data(batch_size=16)
    task = MultilabelTask(data.spec, Backbone("test_resnet", False), optimizer=partial(torch.optim.AdamW, lr=3e-3))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"callbacks": [ClosedFormStart()], "logger": False, **quiet}
    trainer = Trainer(accelerator="cpu", max_epochs=6, default_root_dir=tmp_path_factory.mktemp("fit"), **options)
    trainer.fit(task, data)
    return trainer, task, data


def test_multilabel_learns_shapes_and_counts_what_is_right(fitted: Any) -> None:
    trainer, task, data = fitted
    assert task.monitor == "val/map"
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert values["train/map"] > values["val/map_baseline"] + 0.2
    assert values["val/map"] > values["val/map_baseline"] + 0.1
    val = data.dataset("val")
    predictions = Predictor(TorchNetwork(task, "cpu")).predict([val.image(i) for i in range(len(val))])
    counts = np.stack([LABELS.counts(val.target(i), found, val.labels_names) for i, found in enumerate(predictions)])
    for name, value in LABELS.figures(counts).items():
        if not name.startswith("class/"):
            assert values[f"val/{name}"] == pytest.approx(float(value), abs=1e-5), name
    for number, (probabilities, true, _) in enumerate(counts.transpose(2, 1, 0)):
        best = best_threshold(probabilities, true == 1)
        assert float(task.heads["labels"].thresholds[number]) == pytest.approx(best, abs=1e-5)


def test_thresholds_stay_what_they_are_outside_of_a_fit(fitted: Any, tmp_path: Path) -> None:
    trainer, task, data = fitted
    before, fit = task.heads["labels"].thresholds.clone(), dict(trainer.callback_metrics)
    quiet = {"enable_progress_bar": False, "logger": False, "default_root_dir": tmp_path}
    other = Trainer(accelerator="cpu", **quiet)
    (found,) = other.validate(task, data, verbose=False)
    other.test(task, data, verbose=False)
    assert torch.equal(before, task.heads["labels"].thresholds)
    assert {name: found[name] for name in ("val/f1", "val/map", "val/micro_f1")} == {
        name: pytest.approx(float(fit[name]), abs=1e-6) for name in ("val/f1", "val/map", "val/micro_f1")
    }
    assert set(task.tables()["labels"]) == {"ap", "f1", "precision", "recall"}


def test_the_closed_form_start_beats_the_baseline_without_a_step() -> None:
    data = shapes_data(batch_size=32)
    task = MultilabelTask(data.spec, Backbone(pretrained="bundled"))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", max_epochs=0, logger=False, callbacks=[ClosedFormStart()], **quiet)
    trainer.fit(task, data)
    (found,) = trainer.validate(task, data, verbose=False)
    assert found["val/map"] > found["val/map_baseline"] + 0.1


# commands


SMALL = {
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False, "logger": False},
    "model": {
        "class_path": "MultilabelTask",
        "init_args": {"backbone": {"name": "cifar10_convnet", "pretrained": False}},
    },
    "data": {
        "dataset": {"class_path": "Shapes", "init_args": {"count": 64, "size": 32, "difficulty": 0.0}},
        "image_size": 32,
        "augment": "none",
    },
}


def test_thresholds_of_averaged_weights_are_those_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    average = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}}
    (tmp_path / "small.yaml").write_text(
        yaml.safe_dump({**SMALL, "trainer": {**SMALL["trainer"], "callbacks": [average]}})
    )
    cli = train("fit", ["-c", "small.yaml"])
    expected = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    (run,) = Path("runs/small").iterdir()
    assert (read_checkpoint(run / "last.ckpt")["state_dict"]["heads.labels.thresholds"] != 0.5).any()
    main(["evaluate", str(run / "last.ckpt"), "--split", "val", "--draws", "2"])
    rows = json.loads((run / "evaluation/evaluation.json").read_text())["figures"]
    found = {row["metric"]: row["value"] for row in rows if not row["class"]}
    assert found["f1"] == pytest.approx(expected["val/f1"], abs=1e-5)


def test_one_threshold_from_fit_to_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen by the fit on val, stored in the checkpoint, used by evaluate, predict and the exported file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    cli = train("fit", ["-c", "small.yaml"])
    values = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    (run,) = Path("runs/small").iterdir()
    stored = read_checkpoint(run / "last.ckpt")["state_dict"]["heads.labels.thresholds"]
    assert torch.equal(stored, cli.model.heads["labels"].thresholds)
    assert (stored != 0.5).any()

    main(["evaluate", str(run / "last.ckpt"), "--split", "val", "--draws", "10"])
    rows = json.loads((run / "evaluation/evaluation.json").read_text())["figures"]
    for row in rows:
        if not row["class"]:
            assert row["value"] == pytest.approx(values[f"val/{row['metric']}"], abs=1e-5)
            assert row["low"] <= row["high"]  # of few images, the average precision of draws is higher
    assert [row["class"] for row in rows if row["metric"] == "ap"] == ["circle", "square", "triangle", "star"]

    (tmp_path / "photos").mkdir()
    for index in range(6):
        picture = Shapes("test", count=64, size=32, difficulty=0.0).image(index)
        Image.fromarray(picture).save(tmp_path / f"photos/{index}.png")
    main(["export", str(run / "last.ckpt"), "--output", "model.onnx"])
    for model, output in ((run / "last.ckpt", "torch"), ("model.onnx", "onnx")):
        main(["predict", str(model), "photos", "--output", output, "--overlays", "--probabilities"])
    texts = [Path(name, "predictions.csv").read_text() for name in ("torch", "onnx")]
    rows, others = (list(csv.DictReader(text.splitlines())) for text in texts)
    names = ["circle", "square", "triangle", "star"]
    predictions = visiontasks.load("model.onnx").predict(sorted(Path("photos").iterdir()))
    for row, other, found in zip(rows, others, predictions, strict=True):
        shares = [float(row[f"probability of {name}"]) for name in names]
        chosen = [name for name, share, limit in zip(names, shares, stored.tolist(), strict=True) if share >= limit]
        assert row["labels"] == other["labels"] == "; ".join(chosen)
        np.testing.assert_allclose(shares, [float(other[f"probability of {name}"]) for name in names], atol=1e-4)
        np.testing.assert_allclose(found["labels_thresholds"], stored)
        assert found["labels"].tolist() == [float(name in chosen) for name in names]


# sets


@pytest.fixture
def table(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., CsvTable]:
    """Writes a table and two images, and reads it."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)

    def read(*lines: str, **options: Any) -> CsvTable:
        (tmp_path / "table.csv").write_text("\n".join(lines))
        return CsvTable("train", str(tmp_path / "table.csv"), splits=EVERYTHING, **options)

    return read


def labels_of(dataset: Any) -> list[list[float]]:
    return [dataset.target(index)["labels"].tolist() for index in range(len(dataset))]


def test_a_table_has_a_list_or_columns_of_labels(table: Any) -> None:
    listed = table("path,label", "a.png,dog; cat", "b.png,", labels_separator=";")
    assert listed.labels_names == ["cat", "dog"]
    assert (listed.class_names, labels_of(listed)) == ([], [[1, 1], [0, 0]])
    assert listed[0]["labels"].dtype == np.float32
    ordered = table("path,label", "a.png,dog", "b.png,dog", labels_separator=";", class_names=["emu", "dog"])
    assert (ordered.labels_names, labels_of(ordered)) == (["emu", "dog"], [[0, 1], [0, 1]])
    columns = table("path,dog,cat", "a.png,1,0", "b.png,0,", labels_columns=["dog", "cat"])
    assert columns.labels_names == ["dog", "cat"]
    np.testing.assert_array_equal(labels_of(columns), [[1, 0], [0, NAN]])
    both = table("path,label,wet", "a.png,cat,1", "b.png,dog,0", labels_columns=["wet"])
    assert (both.class_names, both.labels_names) == (["cat", "dog"], ["wet"])
    assert (both.target(1)["label"], both.target(1)["labels"].tolist()) == (1, [0])


def test_mistakes_in_tables_of_labels_are_named(table: Any) -> None:
    cases = [
        (
            ("path,dog", "a.png,2"),
            {"labels_columns": ["dog"]},
            r"table.csv, line 2: dog must be 0, 1 or empty; found '2'",
        ),
        (
            ("path,dog", "a.png,yes"),
            {"labels_columns": ["dog"]},
            r"line 2: dog must be numbers, or empty; found \['yes'\]",
        ),
        (("path,dog", "a.png,1"), {"labels_columns": ["cat"]}, r"no column 'cat'; the header has \['path', 'dog'\]"),
        (("path,name", "a.png,x"), {"labels_separator": ";"}, "no column 'label'"),
        (
            ("path,label", "a.png,dog;cow"),
            {"labels_separator": ";", "class_names": ["dog", "cat"]},
            r"line 2: 'cow' is not one of \['dog', 'cat'\]",
        ),
    ]
    for lines, options, message in cases:
        with pytest.raises(InputError, match=message):
            table(*lines, **options)


def write_coco(root: Path, objects: list[tuple[int, int]], crowd: bool = False) -> Path:
    """Two images, and objects of (image, category)."""
    found = [
        {"id": i, "image_id": image, "category_id": kind, "bbox": [1, 1, 8, 8], "iscrowd": int(crowd)}
        for i, (image, kind) in enumerate(objects)
    ]
    images = [{"id": i, "file_name": name} for i, name in enumerate(("a.png", "b.png", "c.png"))]
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    (root / "coco.json").write_text(json.dumps({"images": images, "annotations": found, "categories": categories}))
    return root / "coco.json"


def write_xml(root: Path, stem: str, labels: list[str]) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
    nodes = "".join(f"<object><name>{label}</name>{box}</object>" for label in labels)
    (root / f"{stem}.xml").write_text(f"<annotation>{nodes}</annotation>")


def test_the_classes_of_objects_are_labels(tmp_path: Path, write_image: Callable[..., Path], table: Any) -> None:
    """Two dogs and a cat, an emu, and nothing at all, which is kept: every class is absent."""
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png")
    expected = [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    path = write_coco(tmp_path, [(0, 1), (0, 1), (0, 0), (1, 2)])
    coco = CocoBoxes("train", str(path), str(tmp_path), objects="labels", splits=EVERYTHING)
    for stem, labels in (("a", ["dog", "dog", "cat"]), ("b", ["emu"]), ("c", [])):
        write_xml(tmp_path, stem, labels)
    voc = VocBoxes("train", str(tmp_path), objects="labels", splits=EVERYTHING)
    header = "path,label,xmin,ymin,xmax,ymax"
    rows = ["a.png,dog,1,1,9,9", "a.png,dog,2,2,9,9", "a.png,cat,1,1,9,9", "b.png,emu,1,1,9,9"]
    boxes = table(header, *rows, objects="labels")
    for found, count in ((coco, 3), (voc, 3), (boxes, 2)):
        assert found.labels_names == NAMES
        assert found.class_names == []
        assert labels_of(found) == expected[:count]
        assert found.target(0).keys() == {"labels"}  # no box of one object
    with pytest.raises(InputError, match="class 'emu' is not one of"):
        VocBoxes("train", str(tmp_path), objects="labels", class_names=["cat", "dog"], splits=EVERYTHING)


def test_a_class_of_which_there_is_only_a_crowd_is_present(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png")
    path = write_coco(tmp_path, [(0, 1), (1, 2)], crowd=True)
    coco = CocoBoxes("train", str(path), str(tmp_path), objects="labels", splits=EVERYTHING)
    assert labels_of(coco) == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert coco.objects(0)["boxes"].shape == (0, 4)


def test_shapes_know_the_kinds_that_can_be_seen() -> None:
    shapes = Shapes("train", count=40, size=48)
    targets = [shapes.target(index) for index in range(40)]
    assert all(target["labels"][target["label"]] == 1 for target in targets)  # the main shape is always seen
    numbers = np.bincount([int(target["labels"].sum()) for target in targets], minlength=4)
    assert numbers[0] == 0
    assert numbers[1:].all()
    assert shapes.labels_names == ["circle", "square", "triangle", "star"]
    assert shapes[3]["labels"].dtype == np.float32
