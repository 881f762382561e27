"""Necks: they make maps of several strides of equal width from the maps of a backbone."""

from visiontasks.models.necks.pyramid import FeaturePyramid

__all__ = ["FeaturePyramid"]
