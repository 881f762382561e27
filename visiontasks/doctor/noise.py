"""How likely it is that a label is wrong, from predictions that have not seen it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.models.heads.labels import fit_platt
from visiontasks.models.ridge import fit_temperature

LEAST_DOUBT = 0.1  # with it, about half of the labels found are wrong, and nine of ten wrong ones are found
SHARES = torch.cat([torch.zeros(1), torch.logspace(-3, -0.4, 25)]).double()  # of wrong labels


def doubt_labels(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the probability that each label is wrong.

    A share of the labels is taken to be wrong, each of them any other class with equal probability. This share and the
    temperature of the softmax are those with the largest likelihood of all labels, so a clean set gets a share of 0 and
    no doubts, however hard its images are. The probabilities are mixed with those of one more sample per class (Platt
    1999, section 2.2), so that a prediction is never certain.

    Args:
        outputs: Outputs for samples that the fit has not seen, float (N, C).
        labels: Class indices, int64 (N,).

    Returns:
        The doubt of each label, float64 (N,), and the probability of each class, float64 (N, C).
    """
    (samples, classes), outputs = outputs.shape, outputs.double()
    smooth, index = classes / (samples + classes), labels[:, None]
    best = torch.inf, 1.0, 0.0
    for factor in (fit_temperature(outputs, labels) * torch.logspace(0, 0.7, 15)).tolist():
        own = (1 - smooth) * F.softmax(factor * outputs, 1).gather(1, index) + smooth / classes
        losses = -((1 - SHARES) * own + SHARES * (1 - own) / (classes - 1)).log().mean(0)
        best = min(best, (float(losses.min()), factor, float(SHARES[losses.argmin()])))
    _, factor, share = best
    probabilities = (1 - smooth) * F.softmax(factor * outputs, 1) + smooth / classes
    own = probabilities.gather(1, index)[:, 0]
    wrong = share * (1 - own) / (classes - 1)
    return wrong / ((1 - share) * own + wrong), probabilities


def doubt_flags(outputs: Tensor, flags: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the probability that each of several yes or no labels of one class is wrong; see `doubt_labels`.

    Args:
        outputs: Outputs for samples that the fit has not seen, float (N,).
        flags: 0 or 1, float (N,).

    Returns:
        The doubt of each flag, and the probability that it is 1, float64 (N,).
    """
    slope, shift = fit_platt(outputs, flags)
    line = slope * outputs.double() + shift
    doubts, probabilities = doubt_labels(torch.stack([-line, line], 1) / 2, flags.long())
    return doubts, probabilities[:, 1]
