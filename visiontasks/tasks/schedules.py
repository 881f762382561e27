"""Learning-rate schedules: pure functions of the time that has passed in a phase of training.

Without state of their own they are exact after a resume, and start anew in each phase.
"""

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
        """The factor at `time` of `total` epochs or updates, 0..1."""


class Constant(Schedule):
    """The same rate throughout."""

    def factor(self, time: int, total: int) -> float:
        return 1.0


class Cosine(Schedule):
    """Linear warm-up, then half a cosine down (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        warmup: Share of the phase in which the rate climbs from zero, 0..1.
        floor: Factor at the end, 0..1.
    """

    def __init__(self, warmup: float = 0.1, floor: float = 0.0) -> None:
        if not (0 <= warmup < 1 and 0 <= floor <= 1):
            raise InputError(f"Cosine: warmup={warmup} must be in 0..1, below 1, and floor={floor} in 0..1.")
        self.warmup, self.floor = warmup, floor

    def factor(self, time: int, total: int) -> float:
        warmup = self.warmup * total
        if time < warmup:
            return (time + 1) / (warmup + 1)
        progress = min(1.0, (time - warmup) / max(1.0, total - warmup))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


class Exponential(Schedule):
    """gamma ** time.

    Args:
        gamma: Factor from one epoch (or update) to the next, 0..1.
        interval: Count epochs or updates.
    """

    def __init__(self, gamma: float = 0.95, interval: Interval = "epoch") -> None:
        self.gamma, self.interval = gamma, interval

    def factor(self, time: int, total: int) -> float:
        return self.gamma**time


class Step(Schedule):
    """gamma ** (number of milestones passed).

    Args:
        milestones: Epochs (or updates) at which the rate drops.
        gamma: Factor of each drop.
        interval: Count epochs or updates.
    """

    def __init__(self, milestones: list[int], gamma: float = 0.1, interval: Interval = "epoch") -> None:
        self.milestones, self.gamma, self.interval = milestones, gamma, interval

    def factor(self, time: int, total: int) -> float:
        return self.gamma ** sum(time >= milestone for milestone in self.milestones)


class InverseTime(Schedule):
    """1 / (1 + decay * time): what the classic Keras optimizers call `decay`.

    Args:
        decay: Per update (or epoch).
        interval: Count epochs or updates.
    """

    def __init__(self, decay: float, interval: Interval = "step") -> None:
        self.decay, self.interval = decay, interval

    def factor(self, time: int, total: int) -> float:
        return 1 / (1 + self.decay * time)


@dataclass
class Phase:
    """A part of the training from one epoch on, with its own rate and a schedule that starts anew."""

    epoch: int
    schedule: Schedule
    lr: float | None = None


def lr_factor(phases: list[Phase], step: int, updates: int, per_epoch: int, rate: float) -> float:
    """The factor on the optimizer's own rate at an update: the current phase's rate and schedule.

    Args:
        phases: In order; the first begins in epoch 0.
        step: Updates done so far.
        updates: Updates of the whole training.
        per_epoch: Updates of an epoch.
        rate: The optimizer's own rate, which a phase without one keeps.
    """
    starts = [phase.epoch * per_epoch for phase in phases] + [updates]
    number = max(i for i, start in enumerate(starts[:-1]) if start <= step)
    phase, time, total = phases[number], step - starts[number], starts[number + 1] - starts[number]
    if phase.schedule.interval == "epoch":
        time, total = time // per_epoch, total // per_epoch
    return phase.schedule.factor(time, total) * (1 if phase.lr is None else phase.lr / rate)
