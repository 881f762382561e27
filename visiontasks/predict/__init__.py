"""What is done with a trained model: images in, predictions out; an exported file needs no torch."""

from visiontasks.predict.predictor import Predictor

__all__ = ["Predictor"]
