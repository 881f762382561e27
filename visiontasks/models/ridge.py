"""Ridge regression whose strength is chosen by exact leave-one-out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Ridge(NamedTuple):
    """A fitted ridge regression.

    Attributes:
        weight: Float (T, D).
        bias: Float (T,).
        strength: The penalty on the squared weights.
        left_out: Prediction of each sample by the fit without it, float (N, T).
    """

    weight: Tensor
    bias: Tensor
    strength: float
    left_out: Tensor


def fit_ridge(design: Tensor, target: Tensor, group: Tensor | None = None) -> Ridge:
    """Fits target = weight design + bias, with the penalty of least leave-one-out error.

    One eigendecomposition serves all penalties: of the covariance (D, D), or of the Gram matrix
    (N, N) where there are fewer samples than features. The left-out residuals of the samples of a group are
    their residuals times (I - H)^-1, H their block of the hat matrix (Golub, Heath and Wahba 1979,
    section 2; the bias is not penalized and adds 1 / N to H).

    Args:
        design: Float (N, D).
        target: Float (N, T).
        group: If given, samples to be left out together, int64 (N,); all groups must be of one size.
    """
    group = torch.arange(len(design)) if group is None else group
    order = group.argsort(stable=True)
    groups = int(group.unique().numel())
    x, y = design[order], target[order]
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x.sub_(mean_x), y - mean_y
    if len(x) > x.shape[1]:
        values, v = torch.linalg.eigh((x.T @ x).double())
        kept = values > values[-1] * 1e-7
        values, v = values[kept], v[:, kept].to(x.dtype)
        u = x @ v / values.sqrt().to(x.dtype)
    else:
        values, u = torch.linalg.eigh((x @ x.T).double())
        kept = values > values[-1] * 1e-7
        values, u = values[kept], u[:, kept].to(x.dtype)
        v = x.T @ u / values.sqrt().to(x.dtype)
    uy, blocks = u.T @ y, u.unflatten(0, (groups, -1))
    best = None
    for strength in values.mean() * torch.logspace(-4, 3, 57, dtype=torch.float64, device=values.device):
        shrink = (values / (values + strength)).to(x.dtype)
        hat = (blocks * shrink) @ blocks.mT + 1 / len(x)
        residual = (y - u @ (shrink[:, None] * uy)).unflatten(0, (groups, -1))
        residual = torch.linalg.solve(torch.eye(hat.shape[1]).to(hat) - hat, residual).flatten(0, 1)
        error = float(residual.square().mean())
        if best is None or error < best[0]:
            best = (error, float(strength), residual)
    assert best is not None
    _, strength, residual = best
    weight = (v @ ((values.sqrt() / (values + strength)).to(x.dtype)[:, None] * uy)).T
    left_out = torch.empty_like(target)
    left_out[order] = y + mean_y - residual
    return Ridge(weight, mean_y - weight @ mean_x, strength, left_out)


def fit_temperature(outputs: Tensor, labels: Tensor) -> float:
    """The factor on outputs that makes their softmax the best probabilities of the labels.

    Where all labels are right it would be infinite: as in Platt 1999 (section 2.2), one more sample of each class is
    thought of at every place.

    Args:
        outputs: Of samples that the fit has not seen, float (N, C).
        labels: Class indices, int64 (N,).
    """
    samples, classes = outputs.shape
    factors = torch.logspace(-1, 2.5, 141, device=outputs.device).tolist()

    def loss(factor: float) -> float:
        return float(F.cross_entropy(factor * outputs, labels, label_smoothing=classes / (samples + classes)))

    return min(factors, key=loss)
