"""The statistics against values worked out by hand, and what must hold for any scores."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from misodice.report.statistics import (
    bootstrap,
    interquartile_mean,
    mean_and_std,
    optimality_gap,
    probability_of_improvement,
)

score = st.floats(-3, 3, allow_nan=False).map(lambda value: round(value, 3))
task = st.lists(score, min_size=1, max_size=5).map(np.array)
tasks = st.lists(task, min_size=1, max_size=4)
two = st.lists(st.tuples(task, task), min_size=1, max_size=4).map(lambda pairs: tuple(zip(*pairs, strict=True)))


def test_by_hand():
    # sorted 0 1 2 3 4 5 6 100: two are left out at either end
    assert interquartile_mean([np.array([100.0, 1, 2, 3]), np.array([0.0, 6, 5, 4])]) == 3.5
    # five values: one at either end
    assert interquartile_mean([np.array([9.0, 1, 2, 4, -5])]) == pytest.approx(7 / 3)
    assert interquartile_mean([np.array([1.0, 3.0])]) == 2.0
    # 1 - min(score, 1): 0.5, 0, 1.5
    assert optimality_gap([np.array([0.5, 2.0]), np.array([-0.5])]) == pytest.approx(2 / 3)
    # task 1: 3 > 1, 3 > 2, 2 > 1, 2 = 2 -> 3.5 of 4; task 2: 0 < 1 -> 0
    ours, other = [np.array([3.0, 2.0]), np.array([0.0])], [np.array([1.0, 2.0]), np.array([1.0])]
    assert probability_of_improvement(ours, other) == pytest.approx(3.5 / 4 / 2)
    assert mean_and_std([1.0, 3.0]) == (2.0, pytest.approx(np.sqrt(2)))
    assert mean_and_std([4.0]) == (4.0, None)


def test_interval_by_hand():
    # Two seeds: the mean of a resample is 0, ½ or 1 with ¼, ½, ¼, so both ends of 95 % are the extremes.
    estimate = bootstrap(lambda scores: float(np.concatenate(scores).mean()), [np.array([0.0, 1.0])])
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)


def test_resampling_keeps_to_its_task():
    # Mixing the tasks would vary; within them nothing can.
    estimate = bootstrap(optimality_gap, [np.array([0.0, 0.0]), np.array([1.0, 1.0, 1.0])])
    assert (estimate.low, estimate.value, estimate.high) == (pytest.approx(0.4),) * 3


def test_one_seed_gives_no_interval():
    assert bootstrap(interquartile_mean, [np.array([0.3]), np.array([0.7])]).low is None


@given(tasks)
def test_interquartile_mean_lies_between_the_quartiles_and_forgets_the_order(scores):
    flat = np.sort(np.concatenate(scores))
    value = interquartile_mean(scores)
    assert flat[len(flat) // 4] - 1e-9 <= value <= flat[len(flat) - 1 - len(flat) // 4] + 1e-9
    assert value == pytest.approx(interquartile_mean([scores[0][::-1], *scores[:0:-1]]))


@given(tasks)
def test_optimality_gap_is_zero_only_at_the_experts_and_never_negative(scores):
    gap = optimality_gap(scores)
    assert gap >= 0
    assert (gap == 0) == bool((np.concatenate(scores) >= 1).all())


@given(two)
def test_probabilities_of_both_directions_sum_to_one(pair):
    ours, other = pair
    forth, back = probability_of_improvement(ours, other), probability_of_improvement(other, ours)
    assert 0 <= forth <= 1
    assert forth + back == pytest.approx(1)
    better = [np.full(1, task.max() + 1) for task in other]
    assert probability_of_improvement(better, other) == 1


@settings(max_examples=10)
@given(tasks)
def test_interval_is_ordered_within_the_scores_and_seeded(scores):
    first, again = bootstrap(interquartile_mean, scores), bootstrap(interquartile_mean, scores)
    assert first == again
    if first.low is not None:
        flat = np.concatenate(scores)
        assert flat.min() - 1e-9 <= first.low <= first.high <= flat.max() + 1e-9
