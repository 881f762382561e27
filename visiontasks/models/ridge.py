"""Ridge regression with a penalty chosen by exact leave-one-out."""

from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.core.errors import InputError


class Ridge(NamedTuple):
    """A fitted ridge regression.

    Attributes:
        weight: Float (T, D).
        bias: Float (T,).
        strength: Penalty on the squared weights.
        left_out: Prediction for each sample by the fit without it, float (N, T).
    """

    weight: Tensor
    bias: Tensor
    strength: float
    left_out: Tensor

    def copy_to(self, layer: nn.Linear, factor: float = 1.0) -> None:
        """Sets the weight and bias of a layer to those of the fit times a factor."""
        with torch.no_grad():
            layer.weight.copy_(factor * self.weight)
            layer.bias.copy_(factor * self.bias)


def fit_ridge(design: Tensor, target: Tensor, group: Tensor | None = None) -> Ridge:
    """Fits target = weight design + bias with the penalty that has the smallest leave-one-out error.

    One eigendecomposition serves all penalties: of the covariance (D, D), or of the Gram matrix (N, N) if there are
    fewer samples than features. The left-out residuals of a group are its residuals times (I - H)^-1, where H is its
    block of the hat matrix (Golub, Heath and Wahba 1979, section 2; the bias is not penalized and adds 1 / N to H).

    Args:
        design: Float (N, D).
        target: Float (N, T).
        group: If given, samples with the same value are left out together, int64 (N,); all groups have one size.

    Raises:
        InputError: There are fewer than two groups.
    """
    group = torch.arange(len(design)) if group is None else group
    order = group.argsort(stable=True)
    if (groups := int(group.unique().numel())) < 2:
        raise InputError(f"The closed form needs at least two images whose target is known; found {groups}.")
    x, y = design[order], target[order]
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x.sub_(mean_x), y - mean_y
    many = len(x) > x.shape[1]
    values, vectors = torch.linalg.eigh((x.T @ x if many else x @ x.T).double())
    kept = values > values[-1] * 1e-7
    values, vectors = values[kept], vectors[:, kept].to(x.dtype)
    others = (x if many else x.T) @ vectors / values.sqrt().to(x.dtype)
    u, v = (others, vectors) if many else (vectors, others)
    uy, blocks = u.T @ y, u.unflatten(0, (groups, -1))
    best = torch.inf, 0.0, y
    for strength in values.mean() * torch.logspace(-4, 3, 57, dtype=torch.float64, device=values.device):
        shrink = (values / (values + strength)).to(x.dtype)
        hat = (blocks * shrink) @ blocks.mT + 1 / len(x)
        residual = (y - u @ (shrink[:, None] * uy)).unflatten(0, (groups, -1))
        residual = torch.linalg.solve(torch.eye(hat.shape[1]).to(hat) - hat, residual).flatten(0, 1)
        best = min(best, (float(residual.square().mean()), float(strength), residual), key=itemgetter(0))
    _, strength, residual = best
    weight = (v @ ((values.sqrt() / (values + strength)).to(x.dtype)[:, None] * uy)).T
    left_out = torch.empty_like(target)
    left_out[order] = y + mean_y - residual
    return Ridge(weight, mean_y - weight @ mean_x, strength, left_out)


def fit_temperature(outputs: Tensor, labels: Tensor) -> float:
    """Returns the factor on outputs for which their softmax predicts the labels with the least cross-entropy.

    It would be infinite if all predictions were right, so labels are smoothed as in Platt 1999 (section 2.2): one
    sample of each class is added to N samples of the label.

    Args:
        outputs: Outputs for samples that the fit has not seen, float (N, C).
        labels: Class indices, int64 (N,).
    """
    samples, classes = outputs.shape
    factors = torch.logspace(-1, 2.5, 141, device=outputs.device).tolist()

    def loss(factor: float) -> float:
        return float(F.cross_entropy(factor * outputs, labels, label_smoothing=classes / (samples + classes)))

    return min(factors, key=loss)
