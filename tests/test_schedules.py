"""Learning-rate factors against values computed by hand (R4)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

from visiontasks.core.errors import InputError
from visiontasks.tasks.schedules import Constant, Cosine, Exponential, InverseTime, Phase, Schedule, Step, lr_factor


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(), {0: 1, 7: 1, 10: 1}),
        (Cosine(warmup=0), {0: 1, 5: 0.5, 10: 0}),
        (Cosine(warmup=0, floor=0.2), {0: 1, 5: 0.6, 10: 0.2}),
        (Cosine(warmup=0.2), {0: 1 / 3, 1: 2 / 3, 2: 1, 4: (1 + math.sqrt(0.5)) / 2, 6: 0.5, 10: 0, 11: 0}),
        (Exponential(0.95), {0: 1, 1: 0.95, 3: 0.857375}),
        (Step([2, 5]), {0: 1, 1: 1, 2: 0.1, 4: 0.1, 5: 0.01, 9: 0.01}),
        (Step([3], gamma=0.5), {2: 1, 3: 0.5}),
        (InverseTime(0.25), {0: 1, 1: 0.8, 4: 0.5, 12: 0.25}),
    ],
)
def test_values_by_hand(schedule: Schedule, expected: dict[int, float]) -> None:
    assert {time: schedule.factor(time, 10) for time in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "interval"),
    [
        (Constant(), "step"),
        (Cosine(), "step"),
        (InverseTime(0.1), "step"),
        (Exponential(), "epoch"),
        (Step([1]), "epoch"),
        (Exponential(interval="step"), "step"),
        (InverseTime(0.1, interval="epoch"), "epoch"),
    ],
)
def test_time_is_counted_in(schedule: Schedule, interval: str) -> None:
    assert schedule.interval == interval


def test_inverse_time_is_the_decay_of_keras() -> None:
    lr, decay = 0.2, 0.01
    for iterations in range(500):
        keras = lr * (1.0 / (1.0 + decay * iterations))
        assert lr * InverseTime(decay).factor(iterations, 500) == pytest.approx(keras)


@pytest.mark.parametrize("total", [10, 97, 1000])
@pytest.mark.parametrize("warmup", [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("floor", [0, 0.05, 1])
def test_cosine_climbs_once_falls_once_and_stays_between_floor_and_1(total: int, warmup: float, floor: float) -> None:
    factors = [Cosine(warmup, floor).factor(time, total) for time in range(total + 2)]
    top = factors.index(max(factors))
    assert factors[0] > 0
    assert max(factors) <= 1
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert min(factors[top:]) >= floor - 1e-12
    assert factors[total] == pytest.approx(floor)


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0, 0.5, 0.99])
def test_cosine_of_a_few_updates_is_a_factor_all_the_same(total: int, warmup: float) -> None:
    assert all(0 <= Cosine(warmup).factor(time, total) <= 1 for time in range(total + 1))
    assert Cosine(warmup).factor(0, total) > 0


def test_cosine_reaches_the_top_and_its_last_update_is_near_the_floor() -> None:
    factors = [Cosine(0.1, 0.01).factor(time, 1000) for time in range(1000)]
    assert max(factors) == 1
    assert factors[-1] == pytest.approx(0.01, abs=1e-4)


@pytest.mark.parametrize("options", [{"warmup": 1.0}, {"warmup": -0.1}, {"floor": 1.1}, {"floor": -0.1}])
def test_impossible_cosines_are_errors_that_name_the_value(options: dict[str, float]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        Cosine(**options)


def test_a_second_phase_counts_time_anew() -> None:
    phases = [Phase(0, InverseTime(0.01)), Phase(2, InverseTime(0.001), lr=0.01)]
    factors = {step: lr_factor(phases, step, updates=50, per_epoch=10, rate=0.2) for step in (0, 19, 20, 25, 50)}
    second = 0.01 / 0.2
    assert factors == pytest.approx({0: 1, 19: 1 / 1.19, 20: second, 25: second / 1.005, 50: second / 1.03})


def test_a_phase_ends_where_the_next_begins() -> None:
    phases = [Phase(0, Cosine(warmup=0)), Phase(2, Cosine(warmup=0))]
    factors = {step: lr_factor(phases, step, updates=50, per_epoch=10, rate=0.2) for step in (0, 10, 20, 35, 50)}
    assert factors == pytest.approx({0: 1, 10: 0.5, 20: 1, 35: 0.5, 50: 0})


def test_a_schedule_by_epoch_changes_between_epochs_only() -> None:
    phases = [Phase(0, Exponential(0.5)), Phase(2, Step([2]))]
    factors = [lr_factor(phases, step, updates=50, per_epoch=10, rate=0.2) for step in range(50)]
    assert factors == pytest.approx([1] * 10 + [0.5] * 10 + [1] * 20 + [0.1] * 10)


def test_a_phase_after_the_end_changes_nothing() -> None:
    phases = [Phase(0, Constant()), Phase(9, Constant(), lr=5.0)]
    assert {lr_factor(phases, step, updates=50, per_epoch=10, rate=0.2) for step in range(51)} == {1.0}


@pytest.mark.parametrize(
    ("make", "argument", "values"),
    [
        (Exponential, "gamma", (-0.1, 1.1, math.nan)),
        (partial(Step, [1]), "gamma", (-0.1, 1.1, math.nan)),
        (Step, "milestones", ([-1], [3, -2])),
        (InverseTime, "decay", (-0.1, math.inf, math.nan)),
        (partial(Phase, schedule=Constant()), "epoch", (-1,)),
        (partial(Phase, 1, Constant()), "lr", (-0.1, 0, math.inf, math.nan)),
    ],
)
def test_numbers_with_a_wrong_sign_are_refused(make: Any, argument: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(InputError, match=argument):
            make(**{argument: value})
