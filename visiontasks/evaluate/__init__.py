"""Figures of a model on a split, with confidence intervals and the baseline, and comparisons of two models."""

from visiontasks.evaluate.bootstrap import Interval, bootstrap
from visiontasks.evaluate.counts import count, count_baseline

__all__ = ["Interval", "bootstrap", "count", "count_baseline"]
