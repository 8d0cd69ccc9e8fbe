"""Aggregates of normalised scores over tasks, with bootstrap intervals over seeds.

Scores are a list with one array for each task: one normalised score a seed, [seeds of that task]. Plain numpy, because
scipy's bootstrap refuses a task that has one seed so far, which is what an unfinished benchmark looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Scores = Sequence[np.ndarray]
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A statistic and its 95 % interval; `low` and `high` are None where no task has two seeds to resample."""

    value: float
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{interval}"


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n − 1); None for the latter of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def interquartile_mean(scores: Scores) -> float:
    """Mean of the middle half of all scores: ⌊N/4⌋ are left out at either end."""
    ordered = np.sort(np.concatenate(scores))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def optimality_gap(scores: Scores) -> float:
    """Mean of 1 − min(score, 1): how far below the experts, whom to surpass brings nothing."""
    return float((1.0 - np.minimum(np.concatenate(scores), 1.0)).mean())


def probability_of_improvement(ours: Scores, other: Scores) -> float:
    """Mean over tasks of P(ours > other) + ½P(ours = other) for a seed of each; both hold the same tasks."""
    return float(
        np.mean([0.5 + 0.5 * np.sign(np.subtract.outer(a, b)).mean() for a, b in zip(ours, other, strict=True)])
    )


def bootstrap(statistic: Callable[..., float], *methods: Scores, seed: int = 0) -> Estimate:
    """`statistic` of one or two methods' scores, with its percentile interval.

    Args:
        statistic: takes the scores of each method.
        methods: their scores; seeds are resampled within each task and method, so that every resample has all tasks.
        seed: of the resampling.
    """
    value = statistic(*methods)
    if all(len(task) < 2 for scores in methods for task in scores):
        return Estimate(value, None, None)
    generator = np.random.default_rng(seed)
    resampled = [
        statistic(*([generator.choice(task, len(task)) for task in scores] for scores in methods))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
