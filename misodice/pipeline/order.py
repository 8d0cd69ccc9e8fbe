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
    readers = dict.fromkeys(missing, stages[-1])
    for stage in reversed(stages[:-1]):
        if missing & set(stage.writes):
            chosen.insert(0, stage)
            missing = missing - set(stage.writes) | set(columns_read(stage, ranking))
            readers |= dict.fromkeys(columns_read(stage, ranking), stage)
    if missing:
        column = sorted(missing)[0]
        reader = readers[column]
        written = ", ".join(f"{name!r} ({stage.name})" for stage in stages for name in stage.writes) or "nothing"
        raise MisodiceError(
            f"{reader.name}: {type(reader).__name__} reads column {column!r}, but no stage before it writes it; the "
            f"stages write {written}; look at policy.weight, value.ratio and data.ranking, and at `writes` of stages "
            "of your own; local_weight is of --preference OMAPL alone"
        )
    return chosen
