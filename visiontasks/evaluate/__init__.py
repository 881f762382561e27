"""How good a model is on a split: figures with their uncertainty beside the floor, and two models side by side."""

from visiontasks.evaluate.bootstrap import Interval, bootstrap
from visiontasks.evaluate.counts import count, count_floor, figures

__all__ = ["Interval", "bootstrap", "count", "count_floor", "figures"]
