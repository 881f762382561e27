"""Predictions with small masks: of a large photo, each of a hundred masks would take a byte per pixel."""

from typing import Any

from visiontasks.core.geometry import Frame
from visiontasks.core.sample import Sample
from visiontasks.targets.candidates import without_masks
from visiontasks.targets.sample import Outputs, predict_sample


def predict_reduced(outputs: Outputs, frame: Frame, size: tuple[int, int], spec: dict[str, Any]) -> Sample:
    """Makes a prediction as `predict_sample` does, but with the masks of objects at the size of the shown picture.

    Args:
        outputs: Outputs of one image, without the axis of the batch.
        frame: The sizes of the image and of what the network sees.
        size: Height and width of the picture that is shown.
        spec: The spec of the model.
    """
    if "objects" not in outputs:
        return predict_sample(outputs, frame, spec)
    sample = predict_sample({**outputs, "objects": without_masks(outputs["objects"])}, frame, spec)
    drawn = predict_sample({"objects": outputs["objects"]}, Frame(*size, frame.size, frame.mode), spec)["objects"]
    return {**sample, "objects": {**drawn, **sample["objects"]}}
