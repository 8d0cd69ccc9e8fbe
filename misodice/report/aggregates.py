"""Normalised scores of each method over the tasks of one world (see `statistics` for the formulae)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from misodice.report.groups import Row, method_order
from misodice.report.statistics import (
    Estimate,
    Scores,
    bootstrap,
    interquartile_mean,
    optimality_gap,
    probability_of_improvement,
)
from misodice.report.tables import NAMES, csv_table, markdown_table


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


def aggregate_rows(aggregates: Sequence[Aggregate], ours: str) -> list[list[str]]:
    """All of it as a table's rows, the header first, intervals in brackets."""
    better = f"P({NAMES.get(ours, ours)} better)"
    rows = [["method", "tasks", "scores", "interquartile mean", "optimality gap", better]]
    for a in aggregates:
        improvement = a.improvement.text if a.improvement else "–"
        own = [str(a.tasks), str(a.runs), a.interquartile_mean.text, a.optimality_gap.text, improvement]
        rows.append([NAMES.get(a.method, a.method), *own])
    return rows


def aggregate_table(aggregates: Sequence[Aggregate], ours: str) -> str:
    """`aggregate_rows` as Markdown."""
    caption = "Normalised scores over tasks; in brackets 95 % bootstrap intervals over seeds."
    return markdown_table(caption, aggregate_rows(aggregates, ours))


def aggregate_csv(aggregates: Sequence[Aggregate], ours: str) -> str:
    """One line a figure of a method, in full precision."""
    rows: list[list[Any]] = [["method", "tasks", "scores", "figure", "value", "low", "high"]]
    for a in aggregates:
        figures = {"interquartile_mean": a.interquartile_mean, "optimality_gap": a.optimality_gap}
        figures |= {f"probability_{ours}_better": a.improvement} if a.improvement else {}
        rows += [[a.method, a.tasks, a.runs, name, e.value, e.low, e.high] for name, e in figures.items()]
    return csv_table(rows)


def _improvement(ours: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> Estimate | None:
    both = [task for task in ours if task in other]
    if not both:
        return None
    pair: tuple[Scores, Scores] = ([ours[task] for task in both], [other[task] for task in both])
    return bootstrap(probability_of_improvement, *pair)
