"""The time that is left."""

import math

import pytest
from hypothesis import given, strategies as st

from misodice.callbacks.clock import RunClock, clock_time

STEPS = st.lists(st.integers(1, 1000), min_size=1, max_size=4)


@given(STEPS, st.floats(1e-3, 10.0))
def test_at_one_speed_the_estimate_is_exact_from_the_second_step_on(steps, seconds):
    names = [str(index) for index in range(len(steps))]
    clock, now = RunClock(dict(zip(names, steps, strict=True))), 0.0
    assert clock.left() is None
    for done, (name, count) in enumerate(zip(names, steps, strict=True)):
        clock.begin(name)
        for step in range(min(count, 5)):
            now += seconds
            clock.step(now, count - step - 1)
            left = clock.left()
            if left is not None:
                total = (count - step - 1 + sum(steps[done + 1 :])) * seconds
                assert left.seconds == pytest.approx(total, rel=1e-6, abs=1e-6)
                assert left.rough == (step == 0 or done + 1 < len(steps))
        clock.end(name)


def test_a_stage_that_begins_is_guessed_by_the_one_before():
    clock = RunClock({"value": 100, "policy": 10})
    clock.begin("value")
    clock.step(0.0, 99)
    assert clock.left() is None, "one step has no speed"
    clock.step(2.0, 98)
    assert clock.left().seconds == 2.0 * (98 + 10)
    clock.begin("policy")
    clock.step(500.0, 9)
    assert clock.left().seconds == 2.0 * 9
    assert clock.left().rough
    clock.step(500.5, 8)
    assert (clock.left().seconds, clock.left().rough) == (0.5 * 8, False)
    assert str(clock.left()) == "0:00:04"


def test_what_nobody_knows_is_not_said():
    clock = RunClock({"value": 1, "policy": 1})
    clock.begin("value")
    for now in (0.0, 1.0):
        clock.step(now, math.inf)
    assert clock.left() is None
    clock.step(2.0, math.inf, at_most=30.0)
    assert str(clock.left()) == "~0:00:31"
    assert clock_time(3661.4) == "1:01:01"
