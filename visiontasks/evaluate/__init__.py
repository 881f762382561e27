"""How good a model is on a split: figures with confidence intervals beside the baseline, and two models compared."""

from visiontasks.evaluate.bootstrap import Interval, bootstrap
from visiontasks.evaluate.counts import count, count_baseline

__all__ = ["Interval", "bootstrap", "count", "count_baseline"]
