"""Which stages are needed, by the columns that they read and write."""

from __future__ import annotations

from collections.abc import Sequence

from misodice.data.ranking import Ranking
from misodice.errors import MisodiceError
from misodice.modules.stage import Stage


def columns_read(stage: Stage, ranking: Ranking) -> tuple[str, ...]:
    """The columns that `stage` depends on: those it reads, and the reward that D_E is ranked by if it knows D_E."""
    ranked_by = ("reward",) if stage.needs_experts and ranking == "preference" else ()
    return (*stage.reads, *ranked_by)


def needed(stages: Sequence[Stage], ranking: Ranking) -> list[Stage]:
    """The stages that the last one needs, in order: those whose columns it reads, and what they read in turn.

    Raises:
        MisodiceError: a stage reads a column that none before it writes.
    """
    chosen = [stages[-1]]
    missing = set(columns_read(stages[-1], ranking))
    for stage in reversed(stages[:-1]):
        if missing & set(stage.writes):
            chosen.insert(0, stage)
            missing = missing - set(stage.writes) | set(columns_read(stage, ranking))
    if missing:
        raise MisodiceError(
            f"column {sorted(missing)[0]!r} is read, but no stage writes it: local_weight is OMAPL's alone "
            "(--preference OMAPL); look at policy.weight and value.ratio"
        )
    return chosen
