"""Figures of a model on a split, with confidence intervals and the baseline, and comparisons of two models."""

from visiontasks.evaluate.evaluation import Counts, Interval, bootstrap, count, count_baseline, describe_intervals

__all__ = ["Counts", "Interval", "bootstrap", "count", "count_baseline", "describe_intervals"]
