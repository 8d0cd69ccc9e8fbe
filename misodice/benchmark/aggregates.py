"""Normalised scores of each method over the tasks of one world (see `statistics` for the formulae)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from misodice.benchmark.groups import Row, method_order
from misodice.benchmark.statistics import (
    Estimate,
    Scores,
    bootstrap,
    interquartile_mean,
    optimality_gap,
    probability_of_improvement,
)


@dataclass(frozen=True)
class Aggregate:
    """One method over its tasks.

    Args:
        method: its name.
        tasks: how many tasks it has scores on.
        runs: how many scores.
        interquartile_mean, optimality_gap: of all its scores.
        improvement: probability that `ours` is better than it on a task that both have; None for `ours` itself.
    """

    method: str
    tasks: int
    runs: int
    interquartile_mean: Estimate
    optimality_gap: Estimate
    improvement: Estimate | None


def aggregate(rows: Sequence[Row], ours: str) -> list[Aggregate]:
    """The methods of `rows`, which are of one setting; those without a normalised score are left out."""
    scores: dict[str, dict[str, np.ndarray]] = {}
    for method in method_order(method for row in rows for method in row.groups):
        found = {row.task: row.groups[method].values("normalised_score") for row in rows if method in row.groups}
        scores[method] = {task: np.array(values) for task, values in found.items() if values}
    return [
        Aggregate(
            method,
            len(tasks),
            sum(map(len, tasks.values())),
            bootstrap(interquartile_mean, list(tasks.values())),
            bootstrap(optimality_gap, list(tasks.values())),
            _improvement(scores.get(ours, {}), tasks) if method != ours else None,
        )
        for method, tasks in scores.items()
        if tasks
    ]


def _improvement(ours: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> Estimate | None:
    both = [task for task in ours if task in other]
    if not both:
        return None
    pair: tuple[Scores, Scores] = ([ours[task] for task in both], [other[task] for task in both])
    return bootstrap(probability_of_improvement, *pair)
