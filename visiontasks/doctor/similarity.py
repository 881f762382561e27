"""Pictures that are alike, whatever their size, compression, brightness or direction.

A fingerprint is a difference hash with real numbers: the differences of neighboring cells of a small gray picture. The
product of two fingerprints is their correlation, and that of all pairs is one product of matrices.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

COARSE, FINE = 16, 32  # cells per side: the first finds pairs, the second confirms them
ALIKE, CONFIRMED = 0.9, 0.85  # least correlations of copies
SPARSE, SURE = 0.06, 0.95  # richness below which copies must correlate more
FLAT = 1.5  # mean difference of neighboring cells, in levels, below which a picture has nothing to compare
USUAL, DISTINCT = 0.99, 0.3  # see `least_correlation`
SAMPLED = 1000
ROWS, BLOCK = 512, 4096  # pictures, and pairs, that are compared at a time
PARTNERS = 30  # pictures before it with which a picture is paired in one direction, at most: a burst has many
TURNS = ("", "turned", "upside down", "turned", "mirrored", "mirrored", "mirrored", "mirrored")


class Pair(NamedTuple):
    """Two alike pictures by their places, how the second is turned, and their correlation."""

    first: int
    second: int
    turn: str
    score: float


def turned(thumbnails: np.ndarray, view: int) -> np.ndarray:
    """Returns pictures (N, S, S, 3) in one of 8 directions: turned by 0 to 3 quarters, and from 4 on mirrored."""
    pictures = thumbnails[:, :, ::-1] if view > 3 else thumbnails
    return np.rot90(pictures, view % 4, (1, 2))


def fingerprints(thumbnails: np.ndarray, cells: int = COARSE) -> np.ndarray:
    """Computes the fingerprints of pictures, uint8 (N, S, S, 3): float32 (N, 2 cells (cells - 1)).

    Their length is 1, or 0 for pictures that are flat.
    """
    gray = thumbnails.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    factor = gray.shape[1] // cells
    gray = gray.reshape(len(gray), cells, factor, cells, factor).mean((2, 4))
    parts = [np.diff(gray, axis=axis).reshape(len(gray), cells * (cells - 1)) for axis in (1, 2)]
    differences = np.concatenate(parts, 1)
    length = np.linalg.norm(differences, axis=1, keepdims=True)
    flat = length < FLAT * np.sqrt(differences.shape[1])
    return np.where(flat, 0, differences / np.maximum(length, 1e-6)).astype(np.float32)


def richness(prints: np.ndarray) -> np.ndarray:
    """Returns the share of the cells that make up each fingerprint, 0..1: low for one object on a smooth background."""
    squares = prints**2
    return 1 / np.maximum((squares**2).sum(1), 1e-9) / prints.shape[1]


def least_correlation(prints: np.ndarray) -> float:
    """Returns the correlation from which on two pictures of a set are copies: higher where all pictures are alike."""
    chosen = prints[np.linspace(0, len(prints) - 1, min(len(prints), SAMPLED)).astype(int)]
    scores = (chosen @ chosen.T)[np.triu_indices(len(chosen), 1)]
    usual = float(np.quantile(scores, USUAL)) if len(scores) > 1 / (1 - USUAL) else 0.0
    return max(ALIKE, 1 - DISTINCT * (1 - usual))


def similar_pairs(thumbnails: np.ndarray) -> list[Pair]:
    """Returns all pairs of pictures, uint8 (N, 32, 32, 3), that show the same, each once with its best turn."""
    prints, fine = fingerprints(thumbnails), fingerprints(thumbnails, FINE)
    least, found = least_correlation(prints), dict[tuple[int, int], Pair]()
    confirmed = np.where(richness(prints) < SPARSE, SURE, CONFIRMED).tolist()
    for view, turn in enumerate(TURNS):
        others = turned(thumbnails, view)
        pairs = np.concatenate([*_candidates(prints, fingerprints(others), least)]).astype(int)
        parts = np.array_split(pairs, len(pairs) // BLOCK + 1)
        scores = np.concatenate([_products(fine, others, part) for part in parts])
        for (first, second), score in zip(pairs.tolist(), scores.tolist(), strict=True):
            known = found.get((first, second))
            if score >= max(confirmed[first], confirmed[second]) and (known is None or known.score < score):
                found[first, second] = Pair(first, second, turn, score)
    return sorted(found.values())


def _candidates(prints: np.ndarray, others: np.ndarray, least: float) -> Iterator[np.ndarray]:
    yield np.empty((0, 2))
    partners = np.zeros(len(prints), int)
    for start in range(0, len(prints), ROWS):
        scores = prints[start : start + ROWS] @ others[start:].T
        alike = np.triu(scores >= least, 1)
        alike &= alike.cumsum(0, dtype=np.int32) + partners[start:] <= PARTNERS
        partners[start:] += alike.sum(0)
        yield np.stack(np.nonzero(alike), 1) + start


def _products(fine: np.ndarray, others: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return (fine[pairs[:, 0]] * fingerprints(others[pairs[:, 1]], FINE)).sum(1)


def groups_of(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Joins pairs that share a place: groups of places, ascending."""
    above: dict[int, int] = {}

    def root(place: int) -> int:
        while above.setdefault(place, place) != place:
            above[place] = place = above[above[place]]
        return place

    for first, second in pairs:
        above[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for place in sorted(above):
        groups.setdefault(root(place), []).append(place)
    return list(groups.values())
