"""Predictions of a trained model; an exported ONNX file needs no torch."""

from visiontasks.predict.predictor import Predictor

__all__ = ["Predictor"]
