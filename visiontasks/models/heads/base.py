"""What a head is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torchmetrics import MetricCollection

from visiontasks.core.errors import InputError
from visiontasks.core.sample import Batch
from visiontasks.core.serialize import Configurable
from visiontasks.losses import Loss

Stage = Literal["train", "val", "test"]


class Head(Configurable, nn.Module, ABC):
    """Answers one key of a sample from a backbone's features.

    A subclass takes `channels` (of every feature map) and `num_classes` as its first two arguments,
    and the loss among the others. Options come after them.

    Attributes:
        key: The key of the sample that it answers.
        monitor: The metric of its own that tells the best model.
        needs_pyramid: Whether it uses more than the backbone's final map.
    """

    key: ClassVar[str]
    monitor: ClassVar[str]
    needs_pyramid: ClassVar[bool] = False

    def check_loss(self, loss: Loss, kind: str) -> None:
        """Refuses a loss of another kind: some would take the wrong tensors without a word."""
        if loss.kind != kind:
            raise InputError(
                f"{type(self).__name__}.loss: {type(loss).__name__} compares {loss.kind}; take one of {kind}."
            )

    def setup(self, summary: dict[str, Any]) -> None:
        """Reads what it needs of the training set, once before a fit.

        Args:
            summary: `VisionDataModule.summary`, and for a head of masks `masks`: its `mask_counts`.
        """

    @abstractmethod
    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes the output from feature maps (B, C, h, w) as `Backbone.forward` returns them, the final one last."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The scalar loss of an output against the batch's value of `key`."""

    @abstractmethod
    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """The prediction of an output: a batch with the keys of a sample, and `score`."""

    def answer(self, output: Tensor) -> Tensor:
        """What a prediction is made of, wherever the network runs: float, to be averaged over views of an image."""
        return self.scores(output)

    @abstractmethod
    def metrics(self, stage: Stage) -> MetricCollection:
        """The metrics of a stage; each is updated with scores and their target."""

    def tables(self) -> MetricCollection:
        """The results of a test that are not single numbers; updated as the metrics are."""
        return MetricCollection({})

    @abstractmethod
    def floor(self, target: Any) -> Any:
        """The scores of a trivial predictor that has only seen the training targets, for these targets."""

    @abstractmethod
    def quality(self, output: Tensor, target: Tensor) -> Tensor:
        """How good each output is, float (B,), 0..1, the more the better; NaN where there is no target."""

    @abstractmethod
    def no_target(self, images: Tensor) -> Tensor:
        """The targets of a batch of images, (B, 3, H, W), that have none."""

    def scores(self, output: Tensor) -> Tensor:
        """What the metrics take in place of the output, where that is not the output itself."""
        return output

    def scored(self, output: Tensor, batch: Batch, spec: dict[str, Any]) -> tuple[Any, Any]:
        """The scores that metrics of val and test take, and their target."""
        return self.scores(output), batch[self.key]

    def design(self, features: list[Tensor]) -> Tensor:
        """What the last, linear layer sees: float (B, D).

        Raises:
            InputError: This head has no closed form.
        """
        raise InputError(
            f"{type(self).__name__} as it is configured has no closed form: its last layer must be its only one. "
            "Remove its hidden layers, leave it out of ClosedFormStart's `heads`, or remove that callback."
        )

    def solve(self, design: Tensor, target: Tensor, index: Tensor) -> dict[str, float]:
        """Sets the last layer to the closed-form solution.

        Args:
            design: Of the whole training set, once or more often, float (N, D).
            target: The value of `key` of the same samples.
            index: Place of each in the training set, int64 (N,): the same for one picture's augmentations.

        Returns:
            What was chosen on the way, by name.
        """
        raise TypeError(f"{type(self).__name__} has a design() but no solve(): a head has both or neither.")
