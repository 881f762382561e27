"""The contract of a head."""

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from visiontasks.core.compat import exact_module
from visiontasks.core.errors import InputError
from visiontasks.core.sample import Sample
from visiontasks.core.serialize import Configurable
from visiontasks.losses import Loss
from visiontasks.models.closed_form import RowSolver, Solver
from visiontasks.targets import Target, find_target

Stage = Literal["train", "val", "test"]


class Head(Configurable, exact_module(), ABC):
    """Base class of heads, which predict one key of a sample from the features of a backbone.

    Its own buffers, such as thresholds and statistics, stay float32 in a model of half precision.

    A subclass takes these two arguments first, then its options, with the loss among them.

    Args:
        channels: Channels of each feature map.
        num_classes: Number of classes.

    Attributes:
        criterion: Loss of the head.
        key: Key of the target kind that the head predicts.
        needs_pyramid: Whether the head uses more than the final map of the backbone.
    """

    criterion: Loss
    key: ClassVar[str]
    needs_pyramid: ClassVar[bool] = False

    @property
    def target(self) -> Target:
        """Target kind of the head."""
        return find_target(self.key)

    def check_loss(self, loss: Loss, kind: str) -> Loss:
        """Returns a copy of a loss, because all heads share the default object.

        Raises:
            InputError: The loss is of another kind: some would accept the wrong tensors.
        """
        if loss.kind != kind:
            raise InputError(
                f"{type(self).__name__}.loss: {type(loss).__name__} compares {loss.kind}; use a loss of {kind}."
            )
        return deepcopy(loss)

    def setup(self, summary: dict[str, Any]) -> None:
        """Reads the `summary` of its target kind for the training set; called once before a fit."""

    @abstractmethod
    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes the output from feature maps (B, C, h, w) as `Backbone.forward` returns them, the final map last."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the scalar loss of an output and the value of `key` in the batch: by default its `criterion`."""
        return self.criterion(output, target)

    @abstractmethod
    def postprocess(self, output: Tensor) -> Tensor:
        """Computes the output of the target kind, from which predictions are made: float (B, ...)."""

    def predict(self, features: list[Tensor]) -> Tensor:
        """Computes the output of the target kind from feature maps; a graph for export has only what this does."""
        return self.postprocess(self(features))

    @abstractmethod
    def counts(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the counts of a training batch for the figures, on its device; see `Target.counts`.

        Returns:
            The sum over the batch, (rows, classes), or (B, rows, classes) if the target kind is not additive.
        """

    @abstractmethod
    def baseline(self) -> Tensor:
        """Returns the output of the trivial predictor, which knows only the training targets."""

    def calibrate(self, counts: np.ndarray) -> np.ndarray:
        """Chooses the settings of predictions from the validation counts during a fit; returns the counts with them."""
        return counts

    def extras(self, stage: Stage) -> MetricCollection:
        """Returns metrics that need more than the counts; `extra_inputs` updates each of them."""
        return MetricCollection({})

    def extra_inputs(self, predictions: list[Sample], truths: list[Sample]) -> tuple[Tensor, Tensor]:
        """Returns the scores and targets of images for the extras."""
        raise NotImplementedError

    def explained(self, output: Tensor, of: Tensor) -> Tensor:
        """Reduces an output to one value per column, float (B, columns), for Grad-CAM and occlusion to explain.

        Args:
            output: Output for changed images.
            of: Output for the original image, which defines the predicted classes.
        """
        return output

    def column(self, output: Tensor) -> int | None:
        """Returns the column of the predicted class of one image; None if all columns are explained together."""
        return int(output.argmax())

    def object_column(self, output: Tensor, label: int, box: np.ndarray) -> int:
        """Returns the column of a predicted object of one image, with a box xyxy in 0..1 of the picture."""
        raise NotImplementedError

    def solver(self, samples: int) -> Solver:
        """Returns what gathers the closed form; `samples` is the number of samples of all passes."""
        return RowSolver(self, samples)

    def solve_alone(self) -> None:
        """Makes the closed form solve all that it can, because no training follows."""

    def design(self, features: list[Tensor]) -> Tensor:
        """Computes the input of the last, linear layer: float (B, D).

        Raises:
            InputError: The head has no closed form.
        """
        raise InputError(
            f"{type(self).__name__} as it is configured has no closed form: its last layer must be its only one. "
            "Remove its hidden layers, remove it from ClosedFormStart's `heads`, or remove that callback."
        )

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Sets the last layer to the closed-form solution.

        Args:
            design: Design of the training set, with one or more augmentations of each image, float (N, D).
            target: Values of `key` of the same samples.
            index: Index of each sample in the training set, int64 (N,): equal for augmentations of one image.

        Returns:
            Chosen hyperparameters and scores of the fit, by name.
        """
        raise TypeError(f"{type(self).__name__} has a design() but no solve(): a head has both or neither.")


def class_counts(taken: Tensor, target: Tensor, num_classes: int, ignored: int) -> Tensor:
    """Counts, per class, the targets, the predictions, and the correct predictions: int64 (3, classes).

    Args:
        taken: Predicted class indices, any shape.
        target: True class indices, of the same shape.
        num_classes: Number of classes.
        ignored: Target value that is not counted.
    """
    true, taken = (part.flatten().long() for part in (target, taken))
    # ignored targets go into an extra class, because boolean indexing would wait for the device
    true, taken = (torch.where(target.flatten() == ignored, num_classes, part) for part in (true, taken))
    right = torch.where(true == taken, true, num_classes)
    return torch.stack([part.bincount(minlength=num_classes + 1)[:-1] for part in (true, taken, right)])
