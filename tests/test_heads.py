"""The label head: from features to logits, probabilities, figures and the closed form."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.losses import MSE, BoxMSE, CrossEntropy
from visiontasks.models import Backbone, BoxHead, FCNHead, LabelHead, ValueHead
from visiontasks.models.heads.base import Stage
from visiontasks.models.ridge import fit_ridge, fit_temperature
from visiontasks.targets import find_target
from visiontasks.targets.sample import predict_sample
from visiontasks.tasks import ClassificationTask
from visiontasks.tasks.figures import StageFigures

SIZE = {"image_size": 8, "resize": "stretch"}
SPEC = {"class_names": ["a", "b", "c"], **SIZE}


def feature_maps(batch: int = 4, channels: int = 5, height: int = 2, width: int = 3) -> list[Tensor]:
    """A pyramid whose last map only is the label head's."""
    generator = torch.Generator().manual_seed(0)
    return [torch.zeros(batch, 2, 9, 9), torch.randn(batch, channels, height, width, generator=generator)]


def make_task(image_size: int = 64, **options: Any) -> ClassificationTask:
    head = partial(LabelHead, **options)
    return ClassificationTask({**SPEC, "image_size": image_size}, Backbone("test_resnet", False), head)


def separable(samples: int = 60, features: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(samples) % 3
    centers = torch.eye(3, features) * 10
    return centers[target] + torch.randn(samples, features, generator=generator), target


# forward


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("avg", lambda x: x.mean((2, 3))),
        ("max", lambda x: x.max(3).max(2)),
        ("avgmax", lambda x: np.concatenate([x.mean((2, 3)), x.max(3).max(2)], 1)),
        ("flatten", lambda x: x.reshape(len(x), -1)),
    ],
)
def test_the_design_is_the_pool_that_is_named(pool: Any, expected: Any) -> None:
    features, head = feature_maps(), LabelHead([2, 5], 3, pool=pool)
    design = head.design(features)
    np.testing.assert_allclose(design, expected(features[-1].numpy()), atol=1e-6)
    logits = head(features)
    expected_logits = design @ head.classifier.weight.T + head.classifier.bias
    torch.testing.assert_close(logits, expected_logits)
    assert logits.shape == (4, 3)


def test_global_max_pooling_of_the_course_figure() -> None:
    maps = torch.zeros(1, 3, 3, 3)
    maps[0, 0, 1, 2] = maps[0, 2, 2, 1] = 1
    assert LabelHead([3], 2, pool="max").design([maps]).tolist() == [[1, 0, 1]]


def test_hidden_layers_are_dense_with_relu_between() -> None:
    features, head = feature_maps(), LabelHead([2, 5], 3, hidden=[7, 6])
    dense = [module for module in head.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(5, 7), (7, 6), (6, 3)]
    x = features[-1].mean((2, 3))
    for layer in dense[:-1]:
        x = layer(x).clamp(min=0)
    torch.testing.assert_close(head(features), dense[-1](x))


def test_dropout_follows_hidden_layers_and_acts_in_training_only() -> None:
    features, head = feature_maps(), LabelHead([2, 5], 3, hidden=[7, 6], dropout=0.5)
    kinds = [type(module) for module in head.modules() if isinstance(module, nn.Linear | nn.Dropout)]
    assert kinds == [nn.Linear, nn.Dropout] * 2 + [nn.Linear]
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))
    dropped = LabelHead([2, 5], 3, dropout=1.0)
    assert torch.equal(dropped(features), dropped.classifier.bias.expand(4, 3))


def test_a_distance_is_to_the_vector_of_each_class() -> None:
    features, head = feature_maps(), LabelHead([2, 5], 3, distance=True)
    vectors, pooled = head.classifier.vectors, features[-1].mean((2, 3))
    assert isinstance(vectors, nn.Parameter)
    assert vectors.abs().unique().tolist() == [1]
    torch.testing.assert_close(head(features), -(torch.cdist(pooled, vectors) ** 2))
    with pytest.raises(InputError, match="no closed form"):
        head.design(features)
    with pytest.raises(InputError, match="distance and `pool: flatten` need a hidden layer"):
        LabelHead([2, 5], 3, pool="flatten", distance=True)


@pytest.mark.parametrize(("image_size", "inputs"), [(64, 96 * 2 * 2), (96, 96 * 3 * 3)])
@pytest.mark.parametrize("hidden", [[], [6]])
def test_flatten_finds_its_width_inside_a_task(image_size: int, inputs: int, hidden: list[int]) -> None:
    task = make_task(image_size, pool="flatten", hidden=hidden)
    dense = [module for module in task.heads["label"].modules() if isinstance(module, nn.Linear)]
    assert dense[0].weight.shape == ((hidden or [3])[0], inputs)
    assert task.training  # finding out did not leave it in eval mode
    assert task(torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8))["label"].shape == (2, 3)


def test_heads_do_not_share_their_default_loss() -> None:
    one, other = LabelHead([5], 2), LabelHead([5], 3)
    assert one.criterion is not other.criterion


def test_setup_hands_the_counts_to_the_loss() -> None:
    head = LabelHead([5], 2, loss=CrossEntropy(class_weights="inverse"))
    head.setup({"counts": np.array([30, 10])})
    assert head.criterion.weights.tolist() == pytest.approx([40 / 60, 2])


# prediction


def test_a_loss_of_another_kind_is_refused() -> None:
    for loss, kind in ((MSE(), "values"), (BoxMSE(), "boxes")):
        message = f"LabelHead.loss: {type(loss).__name__} compares {kind}; use a loss of classes"
        with pytest.raises(InputError, match=re.escape(message)):
            LabelHead([5], 2, loss=loss)
    with pytest.raises(InputError, match=r"ValueHead\.loss: CrossEntropy compares classes; use a loss of values"):
        ValueHead([5], 2, loss=CrossEntropy())


def test_every_head_answers_the_kind_of_its_key() -> None:
    heads = [LabelHead([5], 3), BoxHead([5], 3), ValueHead([5], 2), FCNHead([3, 5, 5, 5, 5, 5, 5], 3)]
    assert [head.key for head in heads] == ["label", "bbox", "value", "mask"]
    for head in heads:
        assert type(head.target) is type(find_target(head.key))


def test_the_output_of_a_prediction_is_probabilities() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]], dtype=torch.bfloat16)
    found = LabelHead([5], 3).postprocess(logits)
    probabilities = np.exp(logits.double().numpy())
    probabilities /= probabilities.sum(1, keepdims=True)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, probabilities, rtol=1e-5)
    predictions = [predict_sample({"label": one}, Frame(6, 5, 4), SPEC) for one in found.numpy()]
    assert [prediction["label"] for prediction in predictions] == [1, 0]
    assert [prediction["class_name"] for prediction in predictions] == ["b", "a"]
    assert {prediction["size"] for prediction in predictions} == {(6, 5)}
    np.testing.assert_allclose([prediction["score"] for prediction in predictions], probabilities.max(1), rtol=1e-5)


def test_the_baseline_is_the_majority_class() -> None:
    head = LabelHead([5], 3)
    head.setup({"counts": np.array([10, 70, 20])})
    torch.testing.assert_close(head.baseline(), torch.tensor([0.1, 0.7, 0.2]))
    scores, target = draw_scores(3)
    values, _ = figures("val", scores, target, head)
    assert values["accuracy_baseline"] == pytest.approx((target[target != IGNORE_LABEL] == 1).mean())
    assert "prior" in head.state_dict()  # a test in another process has the same baseline
    other = LabelHead([5], 3, loss=CrossEntropy(class_weights="inverse"))
    other.load_state_dict(head.state_dict())  # and the same class weights
    assert other.criterion.weights.tolist() == pytest.approx([100 / 30, 100 / 210, 100 / 60])


# closed form


def test_solve_is_the_ridge_solution_at_its_best_temperature() -> None:
    design, target = separable()
    head = LabelHead([8], 3)
    found = head.solve(design, target, torch.arange(len(design)))
    ridge = fit_ridge(design, nn.functional.one_hot(target, 3).float())
    factor = fit_temperature(ridge.left_out, target)
    torch.testing.assert_close(head.classifier.weight.detach(), factor * ridge.weight)
    torch.testing.assert_close(head.classifier.bias.detach(), factor * ridge.bias)
    assert found == {"strength": ridge.strength, "temperature": factor, "left_out_accuracy": 1.0}
    assert head([design[:, :, None, None]]).argmax(1).equal(target)


def test_left_out_accuracy_on_labels_without_meaning_is_that_of_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    design, target = torch.randn(300, 5, generator=generator), torch.randint(0, 3, (300,), generator=generator)
    assert LabelHead([5], 3).solve(design, target, torch.arange(len(design)))["left_out_accuracy"] < 0.45


def test_solve_leaves_samples_without_a_label_out() -> None:
    design, target = separable()
    one, other = LabelHead([8], 3), LabelHead([8], 3)
    index = torch.arange(2 * len(design))
    targets = torch.cat([target, torch.full_like(target, IGNORE_LABEL)])
    found = one.solve(torch.cat([design, design * 5]), targets, index)
    assert found == pytest.approx(other.solve(design, target, index[: len(design)]))
    torch.testing.assert_close(one.classifier.weight, other.classifier.weight)


def test_solve_with_a_class_that_no_sample_has() -> None:
    design, target = separable()
    head = LabelHead([8], 5)
    head.solve(design, target, torch.arange(len(design)))
    assert head.classifier.weight.isfinite().all()
    assert head([design[:, :, None, None]]).argmax(1).equal(target)


def test_hidden_layers_have_no_closed_form() -> None:
    with pytest.raises(InputError, match="LabelHead as it is configured has no closed form"):
        LabelHead([2, 5], 3, hidden=[4]).design(feature_maps())


# figures


def draw_scores(classes: int, samples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, C) of some use, and labels (N,) of which some are not known."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, classes, samples)
    logits = rng.normal(0, 1, (samples, classes)) + 1.5 * np.eye(classes)[target]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target[::7] = IGNORE_LABEL
    return scores.astype(np.float32), target


def figures(
    stage: Stage, scores: Any, target: Any, head: LabelHead | None = None, parts: int = 3
) -> tuple[dict[str, float], dict[str, Any]]:
    """The figures and tables of a split that comes in parts."""
    scores, labels = torch.as_tensor(scores, dtype=torch.float32), np.asarray(target)
    head = head or LabelHead([5], scores.shape[1])
    stages = StageFigures(stage, {"label": head}, {"class_names": [*"abcdefghijk"][: scores.shape[1]], **SIZE})
    for rows in np.array_split(np.arange(len(labels)), parts):
        truth = [{} if label == IGNORE_LABEL else {"label": int(label)} for label in labels[rows]]
        size = torch.full((len(rows), 2), 9)
        images = torch.zeros(len(rows), 3, 8, 8, dtype=torch.uint8)
        batch = {"image": images, "index": torch.from_numpy(rows), "size": size, "truth": truth}
        stages.add_batch({"label": scores[rows].log()}, batch)  # their softmax is the scores
    return stages.values(), stages.tables["label"]


def confusion(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rows true, columns predicted."""
    known, classes = target != IGNORE_LABEL, scores.shape[1]
    table = np.zeros((classes, classes), int)
    np.add.at(table, (target[known], scores.argmax(1)[known]), 1)
    return table


@pytest.mark.parametrize(
    ("stage", "classes", "names"),
    [
        ("val", 7, {"accuracy", "top5", "f1"}),
        ("val", 5, {"accuracy", "f1"}),
        ("test", 2, {"accuracy", "f1", "auroc", "ece"}),
        ("test", 7, {"accuracy", "top5", "f1", "auroc", "ece"}),
    ],
)
def test_each_stage_has_its_figures(stage: Any, classes: int, names: set[str]) -> None:
    values, tables = figures(stage, *draw_scores(classes))
    assert values.keys() == names | {"accuracy_baseline"}
    assert tables.keys() == {"recall", "precision", "f1"} | ({"confusion"} if stage == "test" else set())


@pytest.mark.parametrize("classes", [5, 7])
def test_training_has_the_accuracy_alone(classes: int) -> None:
    scores, target = draw_scores(classes)
    stages = StageFigures("train", {"label": LabelHead([5], classes)}, {"class_names": [*"abcdefg"][:classes], **SIZE})
    stages.add_training_batch({"label": torch.from_numpy(scores)}, {"label": torch.from_numpy(target)})
    known = target != IGNORE_LABEL
    expected = (scores.argmax(1) == target)[known].mean()
    assert stages.values() == {"accuracy": pytest.approx(expected)}


@pytest.mark.parametrize("classes", [2, 4, 9])
def test_figures_equal_those_of_the_definitions(classes: int) -> None:
    scores, target = draw_scores(classes)
    for parts in (3, len(target)):  # alone, some images have no label
        found, _ = figures("test", scores, target, parts=parts)
        table, known = confusion(scores, target), target != IGNORE_LABEL
        hits, predicted, true = np.diag(table), table.sum(0), table.sum(1)
        assert found["accuracy"] == pytest.approx(hits.sum() / known.sum())
        assert found["f1"] == pytest.approx(np.mean(2 * hits / (predicted + true)))
        if classes > 5:
            best = np.argsort(-scores[known], 1)[:, :5]
            assert found["top5"] == pytest.approx((best == target[known, None]).any(1).mean())
        areas = []
        for c in range(classes):
            inside, outside = scores[known & (target == c), c], scores[known & (target != c), c]
            areas.append((inside[:, None] > outside[None]).mean())  # the share of pairs in the right order
        assert found["auroc"] == pytest.approx(np.mean(areas), abs=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_tables_are_by_class_and_rows_are_true(classes: int) -> None:
    scores, target = draw_scores(classes)
    (_, found), table = figures("test", scores, target), confusion(scores, target)
    recall, precision = np.diag(table) / table.sum(1), np.diag(table) / table.sum(0)
    assert found["confusion"].tolist() == table.tolist()
    assert found["recall"] == pytest.approx(recall)
    assert found["precision"] == pytest.approx(precision)
    assert found["f1"] == pytest.approx(2 * recall * precision / (recall + precision))


def test_one_mistake_stands_in_the_row_of_the_true_class() -> None:
    _, found = figures("test", [[0.1, 0.2, 0.7]], [0], parts=1)
    assert found["confusion"].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_f1_is_the_mean_over_the_classes_that_occur() -> None:
    scores = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]]
    # class 0: precision 1/2, recall 1; class 1: precision 1, recall 1/2; class 2: never
    values, _ = figures("val", scores, [0, 1, 1], parts=1)
    assert values["f1"] == pytest.approx(2 / 3)


def test_auroc_by_hand() -> None:
    second = torch.tensor([0.1, 0.4, 0.35, 0.8])  # of the four pairs one is in the wrong order
    values, _ = figures("test", torch.stack([1 - second, second], 1), [0, 0, 1, 1])
    assert values["auroc"] == pytest.approx(0.75)


def test_calibration_error_by_hand() -> None:
    # bin of 0.9: confidence 0.9, accuracy 1/2, two of three; bin of 0.65: confidence 0.65, accuracy 1
    scores = [[0.9, 0.1], [0.1, 0.9], [0.65, 0.35]]
    values, _ = figures("test", scores, [0, 0, 0], parts=1)
    assert values["ece"] == pytest.approx(2 / 3 * 0.4 + 1 / 3 * 0.35)


def test_a_class_that_the_split_lacks_counts_nowhere() -> None:
    """A perfect classifier of three classes; two of them occur."""
    target = np.array([0, 1, 0, 1, IGNORE_LABEL])
    scores = np.full((5, 3), 0.1) + 0.7 * np.eye(3)[target.clip(0)]
    values, tables = figures("test", scores, target)
    assert {name: values[name] for name in ("accuracy", "f1", "auroc")} == {"accuracy": 1, "f1": 1, "auroc": 1}
    for name in ("recall", "precision", "f1"):
        np.testing.assert_array_equal(tables[name], [1, 1, np.nan])
    values, _ = figures("test", scores[:1], target[:1], parts=1)
    assert values["accuracy"] == 1
    assert np.isnan(values["auroc"])  # one class has no rest


def test_a_split_without_labels_has_blank_figures() -> None:
    with pytest.warns(UserWarning, match=r"test: no image has a known label, so its figures are left blank\."):
        values, tables = figures("test", np.full((4, 7), 1 / 7), np.full(4, IGNORE_LABEL))
    assert values.keys() == {"accuracy", "f1", "accuracy_baseline"}
    assert np.isnan([*values.values(), *tables["recall"]]).all()


def test_one_sample_cannot_be_fitted() -> None:
    with pytest.raises(InputError, match="at least two images whose target is known; found 1"):
        fit_ridge(torch.randn(1, 8), torch.randn(1, 1))
