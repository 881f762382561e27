"""The transform of validation and test: only a resize."""

from visiontasks.core.geometry import Resize, Size
from visiontasks.core.sample import Sample
from visiontasks.targets.sample import resize_sample, targets_of


class EvalTransform:
    """Resizes a sample, and keeps its targets as they were as `truth`: figures are computed from those.

    Args:
        image_size: Size of the picture in pixels.
        resize: How an image becomes it; see `fit_into`.
    """

    def __init__(self, image_size: Size, resize: Resize = "stretch") -> None:
        self.image_size, self.resize = image_size, resize

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        return {**resize_sample(sample, self.image_size, self.resize), "truth": targets_of(sample)}
