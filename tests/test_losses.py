"""Losses against torch, against the papers' figures and against formulas in float64 (L1, L2, L3, L4)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.core.sample import IGNORE_LABEL
from visiontasks.losses import MSE, CrossEntropy, Dice, Focal, Jaccard, Loss, Lovasz, ProbabilityMSE, SmoothL1, Tversky

LOSSES = [
    CrossEntropy(),
    CrossEntropy(label_smoothing=0.1),
    CrossEntropy(class_weights=[1, 2, 5]),
    Focal(),
    Focal(gamma=0.5, class_weights=[1, 2, 5]),
    ProbabilityMSE(),
    Dice(),
    Jaccard(),
    Tversky(),
    Lovasz(),
]
WEIGHTS = [0.5, 2.0, 3.0]
SHAPES = [(6,), (2, 4, 5)]  # targets of images, and of pixels

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["label", "mask"])


def draw(shape: tuple[int, ...], classes: int = 3) -> tuple[Tensor, Tensor]:
    """Logits (B, C, ...) and targets (B, ...)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator) * 3
    return logits.requires_grad_(), torch.randint(0, classes, shape, generator=generator)


def one_hot(target: Tensor, classes: int = 3) -> Tensor:
    return F.one_hot(target, classes).movedim(-1, 1).float()


def two_class_logits(y: Tensor) -> Tensor:
    """Logits whose softmax gives class 1 the probability y."""
    return torch.stack([(1 - y).log(), y.log()], 1)


def test_cross_entropy_of_the_course_figure() -> None:
    probabilities = torch.tensor([[[0.05, 0.95, 0], [0.1, 0.1, 0.8]], [[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]]])
    loss = CrossEntropy()(probabilities.log().movedim(-1, 1), torch.tensor([[1, 2], [0, 2]]))
    assert float(loss) == pytest.approx(0.2854844, abs=5e-8)


@every_shape
@pytest.mark.parametrize("ignored", [0, 3])
@pytest.mark.parametrize(
    ("ours", "options"),
    [
        ({}, {}),
        ({"label_smoothing": 0.2}, {"label_smoothing": 0.2}),
        ({"class_weights": WEIGHTS}, {"weight": torch.tensor(WEIGHTS)}),
        ({"class_weights": WEIGHTS, "label_smoothing": 0.2}, {"weight": torch.tensor(WEIGHTS), "label_smoothing": 0.2}),
    ],
)
def test_cross_entropy_equals_torch(
    shape: tuple[int, ...], ignored: int, ours: dict[str, Any], options: dict[str, Any]
) -> None:
    logits, target = draw(shape)
    target.flatten()[:ignored] = IGNORE_LABEL
    torch.testing.assert_close(CrossEntropy(**ours)(logits, target), F.cross_entropy(logits, target, **options))


@every_shape
@pytest.mark.parametrize("smoothing", [0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_of_probabilities_equals_torch(
    shape: tuple[int, ...], smoothing: float, weights: list[float] | None
) -> None:
    logits, _ = draw(shape)
    target = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)).softmax(1)
    expected = F.cross_entropy(logits, target, weights and torch.tensor(weights), label_smoothing=smoothing)
    torch.testing.assert_close(CrossEntropy(smoothing, weights)(logits, target), expected)


def test_cross_entropy_of_two_classes_is_the_binary_formula() -> None:
    y = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = (y > 0.3).long()
    expected = -(target * y.log() + (1 - target) * (1 - y).log()).mean()
    assert float(CrossEntropy()(two_class_logits(y), target)) == pytest.approx(float(expected), rel=1e-6)


@every_shape
def test_focal_with_gamma_0_is_cross_entropy(shape: tuple[int, ...]) -> None:
    logits, target = draw(shape)
    target.flatten()[0] = IGNORE_LABEL
    for weights in (None, [1.0, 2.0, 5.0]):
        focal, entropy = Focal(gamma=0, class_weights=weights), CrossEntropy(class_weights=weights)
        torch.testing.assert_close(focal(logits, target), entropy(logits, target))


@pytest.mark.parametrize(("p_t", "ratio"), [(0.9, 100), (0.968, 1000)])
def test_focal_is_as_much_lower_than_cross_entropy_as_the_paper_says(p_t: float, ratio: float) -> None:
    logits, target = two_class_logits(torch.tensor([p_t])), torch.tensor([1])
    assert float(CrossEntropy()(logits, target) / Focal(gamma=2)(logits, target)) == pytest.approx(ratio, rel=0.03)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("mixed", [False, True])
def test_focal_of_two_classes_is_the_binary_formula(gamma: float, mixed: bool) -> None:
    rng = np.random.default_rng(0)
    y, t = rng.uniform(0.01, 0.99, 200), rng.uniform(0, 1, 200)
    t = t if mixed else t.round()
    expected = -np.mean(t * (1 - y) ** gamma * np.log(y) + (1 - t) * y**gamma * np.log(1 - y))
    target = torch.tensor(np.stack([1 - t, t], 1)).float() if mixed else torch.tensor(t).long()
    assert float(Focal(gamma)(two_class_logits(torch.tensor(y)), target)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_a_finite_gradient_where_the_prediction_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
    loss = Focal(gamma)(logits, torch.tensor([0, 1]))  # p_t is 1 and 0
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0].abs().max() < 1e-3
    assert logits.grad[1].abs().max() > 0.4


@every_shape
@pytest.mark.parametrize("mixed", [False, True])
def test_probability_mse_is_the_mean_square_over_classes(shape: tuple[int, ...], mixed: bool) -> None:
    logits, target = draw(shape)
    z = np.exp(logits.detach().double().numpy())
    p, t = z / z.sum(1, keepdims=True), one_hot(target)
    target, t = (0.7 * t + 0.3 * t.flip(0),) * 2 if mixed else (target, t)
    assert float(ProbabilityMSE()(logits, target)) == pytest.approx(((p - t.numpy()) ** 2).mean(), rel=1e-5)


# overlap


def overlap(p: np.ndarray, t: np.ndarray, alpha: float, beta: float) -> float:
    """The mean over classes that occur of the Tversky loss, of (C, N) and (N,), in float64."""
    found = []
    for label in np.unique(t):
        right, wrong = p[label][t == label].sum(), p[label][t != label].sum()
        found.append(1 - right / (right + alpha * wrong + beta * ((t == label).sum() - right)))
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("loss", "alpha", "beta"),
    [(Dice, 0.5, 0.5), (Jaccard, 1.0, 1.0), (Tversky, 0.3, 0.7)],
)
@pytest.mark.parametrize("per", ["batch", "image"])
def test_overlap_losses_are_the_formula_over_the_classes_that_occur(
    loss: type[Loss], alpha: float, beta: float, per: Any
) -> None:
    logits, target = draw((2, 7, 9), classes=5)
    target[0] = target[0].clamp(max=2)  # classes 3 and 4 are in one image only
    z = np.exp(logits.detach().double().numpy())
    p, t = (z / z.sum(1, keepdims=True)).reshape(2, 5, -1), target.numpy().reshape(2, -1)
    if per == "batch":
        expected = overlap(p.transpose(1, 0, 2).reshape(5, -1), t.ravel(), alpha, beta)
    else:  # each pair of an image and a class in it counts alike
        counts = [len(np.unique(labels)) for labels in t]
        each = [overlap(rows, labels, alpha, beta) for rows, labels in zip(p, t, strict=True)]
        expected = float(np.average(each, weights=counts))
    assert float(loss(per=per)(logits, target)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [Dice(), Jaccard(), Tversky(), Lovasz()])
def test_perfect_is_0_and_all_wrong_is_1_whatever_classes_are_absent(loss: Loss) -> None:
    target = torch.tensor([[0, 0, 1, 1]])
    for answer, expected in ((target, 0.0), (1 - target, 1.0), (torch.full_like(target, 2), 1.0)):
        logits = 100 * F.one_hot(answer, 4).movedim(-1, 1).float()
        assert float(loss(logits, target)) == pytest.approx(expected, abs=1e-5)


def test_lovasz_at_certain_predictions_is_one_minus_the_iou_of_the_classes() -> None:
    """The extension agrees with the set function where it is defined (Berman et al. 2018, section 2)."""
    rng = np.random.default_rng(0)
    target, answer = rng.integers(0, 4, (3, 50)), rng.integers(0, 4, (3, 50))
    logits = torch.from_numpy(200.0 * np.eye(4)[answer].transpose(0, 2, 1)).float()
    iou = [((target == c) & (answer == c)).sum() / ((target == c) | (answer == c)).sum() for c in np.unique(target)]
    assert float(Lovasz()(logits, torch.from_numpy(target))) == pytest.approx(1 - np.mean(iou), abs=1e-5)


@pytest.mark.parametrize("per", ["batch", "image"])
def test_lovasz_equals_smp_where_no_pixel_is_ignored(per: Any) -> None:
    from segmentation_models_pytorch.losses import LovaszLoss

    logits, target = draw((3, 6, 8), classes=4)
    expected = LovaszLoss("multiclass", per_image=per == "image")(logits, target)
    torch.testing.assert_close(Lovasz(per)(logits, target), expected)


def test_dice_equals_smp_where_every_class_occurs() -> None:
    from segmentation_models_pytorch.losses import DiceLoss

    logits, target = draw((3, 6, 8), classes=4)
    torch.testing.assert_close(Dice()(logits, target), DiceLoss("multiclass")(logits, target), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"alpha": 0.0, "beta": 0.0}])
def test_tversky_refuses_weights_without_sense(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Tversky: alpha="):
        Tversky(**options)


@pytest.mark.parametrize("loss", [ProbabilityMSE(), CrossEntropy(), Focal()])
def test_a_better_prediction_costs_less(loss: Loss) -> None:
    costs = [float(loss(two_class_logits(torch.tensor([p])), torch.tensor([1]))) for p in (0.01, 0.3, 0.6, 0.99)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.02 * costs[0]


def test_probability_mse_is_gentle_where_cross_entropy_is_steep() -> None:
    slopes = []
    for loss in (ProbabilityMSE(), CrossEntropy()):
        logits = torch.tensor([[8.0, -8.0]], requires_grad=True)
        loss(logits, torch.tensor([1])).backward()
        assert logits.grad is not None
        slopes.append(float(logits.grad.abs().max()))
    assert slopes[0] < 1e-5
    assert slopes[1] > 0.99


@every_loss
@every_shape
def test_one_hot_targets_give_the_same_as_indices(loss: Loss, shape: tuple[int, ...]) -> None:
    logits, target = draw(shape)
    if isinstance(loss, Lovasz):
        with pytest.raises(InputError, match="Lovasz: labels cannot be mixed"):
            loss(logits, one_hot(target))
    else:
        weights = getattr(loss, "weights", None)  # torch divides probabilities by their number, not by their weights
        scale = weights[target].mean() if isinstance(weights, Tensor) else 1.0
        torch.testing.assert_close(loss(logits, one_hot(target)), loss(logits, target) * scale)


@every_loss
@every_shape
def test_all_ignored_is_zero_with_a_zero_gradient(loss: Loss, shape: tuple[int, ...]) -> None:
    logits, target = draw(shape)
    value = loss(logits, torch.full_like(target, IGNORE_LABEL))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


@every_loss
@every_shape
def test_what_is_ignored_counts_nowhere(loss: Loss, shape: tuple[int, ...]) -> None:
    logits, target = draw(shape)
    ignored = torch.arange(target.numel()).reshape(shape) % 3 == 0
    value = loss(logits, target.masked_fill(ignored, IGNORE_LABEL))
    value.backward()
    rows, kept = logits.detach().movedim(1, -1)[~ignored], target[~ignored]
    torch.testing.assert_close(value.detach(), loss(rows, kept))
    assert logits.grad is not None
    gradient = logits.grad.movedim(1, -1)
    assert gradient[ignored].eq(0).all()
    assert gradient[~ignored].ne(0).any(-1).all()


@every_loss
@every_shape
@pytest.mark.parametrize("scale", [1, 1000])
def test_finite_in_bfloat16(loss: Loss, shape: tuple[int, ...], scale: float) -> None:
    logits, target = draw(shape)
    half = (logits.detach() * scale).bfloat16().requires_grad_()
    for goal in (target,) if isinstance(loss, Lovasz) else (target, one_hot(target).bfloat16()):
        half.grad = None
        value = loss(half, goal)
        value.backward()
        assert value.isfinite()
        assert value.dtype == torch.float32
        assert half.grad is not None
        assert half.grad.isfinite().all()
        single = goal.float() if goal.is_floating_point() else goal
        torch.testing.assert_close(value, loss(half.float(), single), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [CrossEntropy, Focal])
def test_auto_weights_are_inverse_to_the_counts(kind: type[CrossEntropy]) -> None:
    counts = torch.tensor([10, 30, 60])
    auto = kind(class_weights="inverse")
    auto.set_label_counts(counts)
    assert auto.weights is not None
    torch.testing.assert_close(auto.weights, torch.tensor([100 / 30, 100 / 90, 100 / 180]))
    assert float(auto.weights @ counts.float()) == pytest.approx(100)
    logits, target = draw((6,))
    torch.testing.assert_close(auto(logits, target), kind(class_weights=auto.weights.tolist())(logits, target))


def test_auto_weights_are_finite_for_a_class_without_samples() -> None:
    loss = CrossEntropy(class_weights="inverse")
    loss.set_label_counts(torch.tensor([4, 0]))
    assert loss.weights is not None
    assert loss.weights.isfinite().all()


@pytest.mark.parametrize("kind", [CrossEntropy, Focal])
def test_a_wrong_number_of_weights_is_an_error(kind: type[CrossEntropy]) -> None:
    with pytest.raises(InputError, match="class_weights: 2 weights for 3 classes"):
        kind(class_weights=[1.0, 2.0]).set_label_counts(torch.tensor([1, 1, 1]))


@pytest.mark.parametrize(
    ("kind", "options"),
    [(CrossEntropy, {"label_smoothing": 1.0}), (CrossEntropy, {"label_smoothing": -0.1}), (Focal, {"gamma": -1.0})],
)
def test_impossible_options_are_errors_that_name_them(kind: type[Loss], options: dict[str, float]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"{name}: {value}"):
        kind(**options)


def test_the_first_loss_of_an_untrained_network_is_the_log_of_the_number_of_classes() -> None:
    assert float(CrossEntropy()(torch.zeros(4, 10), torch.arange(4))) == pytest.approx(math.log(10))


# numbers


def draw_numbers() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    output, target = (torch.randn(6, 3, generator=generator) for _ in range(2))
    return output.requires_grad_(), target


def test_losses_of_numbers_are_their_formulas_and_torchs() -> None:
    output, target = torch.tensor([[0.5, 2.0], [1.0, -1.0]]), torch.tensor([[0.0, 0.0], [1.0, -1.5]])
    assert MSE.kind == SmoothL1.kind == "values"
    assert float(MSE()(output, target)) == pytest.approx((0.5**2 + 2**2 + 0 + 0.5**2) / 4)
    assert float(SmoothL1()(output, target)) == pytest.approx((0.5**2 / 2 + 2 - 0.5 + 0 + 0.5**2 / 2) / 4)
    assert float(SmoothL1(0.25)(output, target)) == pytest.approx((0.5 - 0.125 + 2 - 0.125 + 0 + 0.5 - 0.125) / 4)
    output, target = draw_numbers()
    torch.testing.assert_close(MSE()(output, target), F.mse_loss(output, target))
    for beta in (0.1, 1.0):
        torch.testing.assert_close(SmoothL1(beta)(output, target), F.smooth_l1_loss(output, target, beta=beta))


def test_unknown_numbers_have_no_part_in_the_loss_or_its_gradient() -> None:
    for loss in (MSE(), SmoothL1(), SmoothL1(0.1)):
        output, target = draw_numbers()
        unknown = torch.zeros(6, 3, dtype=torch.bool)
        unknown[0, 1] = unknown[2] = unknown[5, 0] = True
        value = loss(output, target.masked_fill(unknown, torch.nan))
        torch.testing.assert_close(value, loss(output[~unknown][:, None], target[~unknown][:, None]))
        value.backward()
        assert output.grad is not None
        assert output.grad.isfinite().all()
        assert not output.grad[unknown].any()
        assert output.grad[~unknown].all()
        output.grad = None
        nothing = loss(output, torch.full((6, 3), torch.nan))
        nothing.backward()
        assert float(nothing.detach()) == 0
        assert not output.grad.any()


def test_losses_of_numbers_are_computed_in_single_precision() -> None:
    for loss in (MSE(), SmoothL1()):
        output, target = draw_numbers()
        half = output.detach().bfloat16().requires_grad_()
        value = loss(half, target)
        value.backward()
        assert value.dtype == torch.float32
        assert half.grad is not None
        assert half.grad.isfinite().all()
        torch.testing.assert_close(value, loss(half.detach().float(), target))
