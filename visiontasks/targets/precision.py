"""Average precision of one class, also of images drawn with replacement."""

import numpy as np

FEW = 40  # positives, below which average precision is far from linear in how often each of them counts
EXACT = 60  # images that count exactly: these positives and the most probable images


def average_precision(probabilities: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Computes the area under the curve of precision over recall, a step for each different probability.

    Args:
        probabilities: Of each image, (N,).
        positive: Whether it has the class, (N,).
        weights: How often each image counts, (draws, N).

    Returns:
        (draws,), NaN where no image has the class.
    """
    if not positive.any():
        return np.full(len(weights), np.nan)
    order = np.argsort(-probabilities, kind="stable")
    hits, weights = positive[order], weights[:, order]
    ends = np.append(np.diff(probabilities[order]) != 0, True).nonzero()[0]
    found = np.cumsum(hits)[ends]
    steps = np.diff(found, prepend=0) > 0  # the recall stays the same elsewhere
    right = np.cumsum(weights[:, hits], 1)[:, found[steps] - 1]
    taken = np.cumsum(weights, 1)[:, ends[steps]]
    with np.errstate(invalid="ignore", divide="ignore"):
        gains = np.diff(right, prepend=0) / right[:, -1:]
        return np.where(right[:, -1] > 0, np.nansum(right / taken * gains, 1), np.nan)


def linear_precision(
    probabilities: np.ndarray, positive: np.ndarray, weights: np.ndarray, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Computes average precision, times the positives drawn, in a time that hardly depends on the number of images.

    `EXACT` images count exactly, the others to first order. The derivatives are those of the infinitesimal jackknife
    (Efron and Tibshirani 1993, section 21.3).

    Args:
        probabilities: Of each image, (N,).
        positive: Whether it has the class, (N,).
        weights: How often each image of the set counts, (M, draws).
        images: The places of the N images in the set.

    Returns:
        The product if all images that do not count exactly count once, (draws,), and what one more of each image adds
        to it, (N,).
    """
    order = np.argsort(-probabilities, kind="stable")
    hits, last = positive[order], np.append(np.diff(probabilities[order]) != 0, True)
    ends, step = last.nonzero()[0], np.cumsum(last) - last  # equal probabilities are one step
    few = hits & (hits.sum() < FEW)
    exact = few | (np.cumsum(~few) <= EXACT - few.sum())
    right, taken = np.cumsum(hits)[ends][step], ends[step] + 1

    def slopes(part: np.ndarray) -> np.ndarray:
        """What one more of each image adds to the precisions at a part of the positives."""
        gain, loss = (np.bincount(step, part * share / taken)[::-1].cumsum()[::-1] for share in (1, right / taken))
        return hits * gain[step] - loss[step]

    rest, found = hits & ~exact, np.empty(len(order))
    found[order] = np.where(exact, slopes(rest), slopes(hits) + hits * right / taken)
    here, own = hits[exact], weights[images[order[exact]]]
    before = (step[exact] <= step[exact & hits][:, None]).astype(np.float32)
    ahead = [np.cumsum(part)[ends][step][exact & hits][:, None] for part in (rest, ~exact)]
    precision = (before * here @ own + ahead[0]) / np.maximum(before @ own + ahead[1], 1e-9)  # 0 where none is taken
    return (precision * own[here]).sum(0) + (rest * right / taken).sum(), found
