"""Ridge regression and its leave-one-out against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from visiontasks.models.ridge import Ridge, fit_ridge, fit_temperature

SIZES = [(40, 6), (12, 30), (10, 10)]  # more samples than features, fewer, and as many


def draw(samples: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(2, 1, (samples, features)) * rng.uniform(0.3, 3, features)
    y = x @ rng.normal(0, 1, (features, 3)) / features + rng.normal(0, 0.5, (samples, 3)) + [1, -2, 5]
    return x, y


def normal_equations(x: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight (T, D) and bias (T,); a column of ones whose weight is not penalized."""
    design = np.column_stack([x, np.ones(len(x))])
    penalty = strength * np.diag([1.0] * x.shape[1] + [0.0])
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ y)
    return solution[:-1].T, solution[-1]


def refit_without_each(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    predictions = []
    for i in range(len(x)):
        weight, bias = normal_equations(np.delete(x, i, 0), np.delete(y, i, 0), strength)
        predictions.append(weight @ x[i] + bias)
    return np.array(predictions)


def fit(x: np.ndarray, y: np.ndarray, dtype: torch.dtype = torch.float64) -> Ridge:
    return fit_ridge(torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 2e-3)])
@pytest.mark.parametrize(("samples", "features"), SIZES)
def test_weights_solve_the_normal_equations(samples: int, features: int, dtype: torch.dtype, tolerance: float) -> None:
    x, y = draw(samples, features)
    ridge = fit(x, y, dtype)
    weight, bias = normal_equations(x, y, ridge.strength)
    np.testing.assert_allclose(ridge.weight, weight, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ridge.bias, bias, rtol=tolerance, atol=tolerance)
    assert ridge.weight.dtype == ridge.bias.dtype == ridge.left_out.dtype == dtype


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 2e-3)])
@pytest.mark.parametrize(("samples", "features"), SIZES)
def test_left_out_predictions_are_those_of_a_fit_without_the_sample(
    samples: int, features: int, dtype: torch.dtype, tolerance: float
) -> None:
    x, y = draw(samples, features)
    ridge = fit(x, y, dtype)
    expected = refit_without_each(x, y, ridge.strength)
    np.testing.assert_allclose(ridge.left_out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("samples", "features"), SIZES)
def test_no_other_strength_predicts_left_out_samples_better(samples: int, features: int) -> None:
    x, y = draw(samples, features)
    chosen = fit(x, y).strength
    errors = {
        factor: np.square(refit_without_each(x, y, chosen * factor) - y).mean() for factor in (0.1, 0.7, 1, 1.4, 10)
    }
    assert min(errors, key=errors.__getitem__) == 1


@pytest.mark.parametrize("samples", [8, 40])
@pytest.mark.parametrize("design", ["twins", "constant column", "all constant", "repeated samples", "rank one"])
def test_finite_where_features_depend_on_each_other(samples: int, design: str) -> None:
    x, y = draw(samples, 16)
    match design:
        case "twins":
            x[:, 8:] = x[:, :8]
        case "constant column":
            x[:, 3] = 7
        case "all constant":
            x[:] = 7
        case "repeated samples":
            x[1:4], y[1:4] = x[0], y[0]
        case "rank one":
            x = np.outer(x[:, 0], np.arange(16))
    for dtype in (torch.float32, torch.float64):
        ridge = fit(x, y, dtype)
        assert all(part.isfinite().all() for part in (ridge.weight, ridge.bias, ridge.left_out))
        assert ridge.left_out.abs().max() < 100


def test_without_information_it_predicts_the_mean() -> None:
    y = np.array([[0.0], [1.0], [5.0]])
    ridge = fit(np.full((3, 4), 7.0), y)
    assert ridge.weight.eq(0).all()
    assert float(ridge.bias) == pytest.approx(2)
    np.testing.assert_allclose(ridge.left_out, [[3], [2.5], [0.5]])


@pytest.mark.parametrize("sharpness", [0.3, 3.0, 40.0])
def test_temperature_is_the_best_of_a_fine_grid(sharpness: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 4, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    outputs = logits / sharpness
    factor = fit_temperature(outputs, labels)
    grid = np.geomspace(0.1, 300, 4000)
    z = grid[:, None, None] * outputs.double().numpy()
    z -= z.max(2, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(2, keepdims=True))
    right = log_p[:, np.arange(400), labels.numpy()].mean(1)
    costs = -(400 * right + 4 * log_p.mean((1, 2))) / 404  # one more sample of each class at every place
    assert factor == pytest.approx(grid[costs.argmin()], rel=0.04)  # the grid of fit_temperature has steps of 6 %
    assert factor == pytest.approx(sharpness, rel=0.2)


def test_temperature_stays_finite_where_all_labels_are_right() -> None:
    labels = torch.arange(100) % 2
    outputs = F.one_hot(labels).float()
    p = torch.sigmoid(torch.tensor(fit_temperature(outputs, labels)))
    assert float(p) == pytest.approx(1 - 1 / 102, abs=2e-3)  # the rule of succession
