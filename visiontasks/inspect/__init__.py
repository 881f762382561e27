"""Inspection of networks: layers, feature maps, filters, explanations and attacks."""

from visiontasks.inspect.attack import accuracy_under_attack, attack
from visiontasks.inspect.explain import explain
from visiontasks.inspect.features import features, filters
from visiontasks.inspect.layers import layers
from visiontasks.inspect.maximize import maximize

__all__ = ["accuracy_under_attack", "attack", "explain", "features", "filters", "layers", "maximize"]
