"""Learning-rate schedules: functions of the time in a phase, without state, so that a resumed fit is exact."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Configurable

Interval = Literal["epoch", "step"]


class Schedule(Configurable, ABC):
    """A factor on the learning rate.

    Attributes:
        interval: Whether time is counted in epochs or in updates of the weights.
    """

    interval: Interval = "step"

    @abstractmethod
    def factor(self, time: int, total: int) -> float:
        """Returns the factor at `time` of `total` epochs or updates, 0..1."""


class Constant(Schedule):
    """The same rate throughout."""

    def factor(self, time: int, total: int) -> float:
        return 1.0


class Cosine(Schedule):
    """Linear warm-up, then cosine decay (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        warmup: Share of the phase in which the rate rises from zero, 0..1.
        floor: Factor at the end, 0..1.
    """

    def __init__(self, warmup: float = 0.1, floor: float = 0.0) -> None:
        if not (0 <= warmup < 1 and 0 <= floor <= 1):
            raise InputError(f"Cosine: warmup={warmup} must be at least 0 and below 1, and floor={floor} in 0..1.")
        self.warmup, self.floor = warmup, floor

    def factor(self, time: int, total: int) -> float:
        warmup = self.warmup * total
        if time < warmup:
            return (time + 1) / (warmup + 1)
        progress = min(1.0, (time - warmup) / max(1.0, total - warmup))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


class Exponential(Schedule):
    """The factor `gamma ** time`.

    Args:
        gamma: Factor from one epoch (or update) to the next, 0..1.
        interval: Count epochs or updates.
    """

    def __init__(self, gamma: float = 0.95, interval: Interval = "epoch") -> None:
        if not 0 <= gamma <= 1:
            raise InputError(f"Exponential: gamma={gamma} must be in 0..1.")
        self.gamma, self.interval = gamma, interval

    def factor(self, time: int, total: int) -> float:
        return self.gamma**time


class Step(Schedule):
    """The factor `gamma ** (number of milestones passed)`.

    Args:
        milestones: Epochs (or updates) at which the rate drops.
        gamma: Factor of each drop.
        interval: Count epochs or updates.
    """

    def __init__(self, milestones: list[int], gamma: float = 0.1, interval: Interval = "epoch") -> None:
        if not 0 <= gamma <= 1 or min(milestones, default=0) < 0:
            raise InputError(f"Step: gamma={gamma} must be in 0..1, and milestones={milestones} 0 or more.")
        self.milestones, self.gamma, self.interval = milestones, gamma, interval

    def factor(self, time: int, total: int) -> float:
        return self.gamma ** sum(time >= milestone for milestone in self.milestones)


class InverseTime(Schedule):
    """The factor `1 / (1 + decay * time)`, which the classic Keras optimizers call `decay`.

    Args:
        decay: Decay per update (or epoch).
        interval: Count epochs or updates.
    """

    def __init__(self, decay: float, interval: Interval = "step") -> None:
        if not 0 <= decay < math.inf:
            raise InputError(f"InverseTime: decay={decay} must be 0 or more.")
        self.decay, self.interval = decay, interval

    def factor(self, time: int, total: int) -> float:
        return 1 / (1 + self.decay * time)


@dataclass
class Phase:
    """A part of the training that starts at an epoch, with its own rate and a schedule that starts again at time 0."""

    epoch: int
    schedule: Schedule
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.epoch < 0 or not (self.lr is None or 0 < self.lr < math.inf):
            raise InputError(f"phase: epoch={self.epoch} must be 0 or more, and lr={self.lr} above 0.")


def lr_factor(phases: list[Phase], step: int, updates: int, per_epoch: int, rate: float) -> float:
    """Computes the factor on the learning rate of the optimizer, from the current phase's rate and schedule.

    Args:
        phases: In order; the first begins in epoch 0.
        step: Updates done so far.
        updates: Updates of the whole training.
        per_epoch: Updates of an epoch.
        rate: Learning rate of the optimizer, which a phase without its own rate uses.
    """
    starts = [phase.epoch * per_epoch for phase in phases] + [updates]
    number = max(i for i, start in enumerate(starts[:-1]) if start <= step)
    phase, time, total = phases[number], step - starts[number], starts[number + 1] - starts[number]
    if phase.schedule.interval == "epoch":
        time, total = time // per_epoch, total // per_epoch
    return phase.schedule.factor(time, total) * (1 if phase.lr is None else phase.lr / rate)
