"""What Lightning counts of a stage that makes its steps itself, in checkpoints as if Lightning made them.

So a checkpoint is the same however many minibatches come together in a batch, and any other number can go on from it.
"""

from __future__ import annotations

from typing import Any

Loops = dict[str, Any]
"""The loop's part of a checkpoint: nested counters by name."""
BATCHES = "epoch_loop.batch_progress"
MANUAL = "epoch_loop.manual_optimization.optim_step_progress"
AUTOMATIC = "epoch_loop.automatic_optimization.optim_progress"
SCHEDULES = "epoch_loop.scheduler_progress"
FIELDS = ("ready", "started", "processed", "completed")


def count_minibatches(loops: Loops, done: int, scheduled: bool) -> None:
    """Turn counters of batches, about to be saved, into those of minibatches.

    Args:
        loops: changed in place.
        done: minibatches of the present epoch.
        scheduled: whether the learning rate has a schedule.
    """
    steps = loops[MANUAL]["total"]["completed"]
    here = done if loops[BATCHES]["current"]["ready"] else 0
    _shift(loops[BATCHES]["current"], here)
    _shift(loops[BATCHES]["total"], steps)
    for action in loops[AUTOMATIC]["optimizer"].values():
        action["total"] |= dict.fromkeys(action["total"], steps)
        action["current"] |= dict.fromkeys(action["current"], here)
    for counts in loops[MANUAL].values():
        counts |= dict.fromkeys(counts, 0)
    if scheduled:
        for name, counts in loops[SCHEDULES].items():
            counts |= dict.fromkeys(counts, steps if name == "total" else here)


def count_batches(loops: Loops, steps: int, minibatches: int) -> None:
    """Turn counters of minibatches, about to be loaded, into those of batches.

    Args:
        loops: changed in place.
        steps: minibatches of an epoch.
        minibatches: of a batch.
    """
    made = loops[AUTOMATIC]["optimizer"]["step"]["total"]["completed"]
    here = loops[BATCHES]["current"]["ready"]
    batches = -(-steps // minibatches)
    # The loader cuts what is left of the epoch into batches, and then they must be as many as in a whole one.
    passed = batches - -(-max(steps - here, 0) // minibatches)
    _shift(loops[BATCHES]["current"], passed)
    _shift(loops[BATCHES]["total"], (made - here) // max(steps, 1) * batches + passed)
    for counts in loops[MANUAL].values():
        counts |= dict.fromkeys(counts, made)


def _shift(counts: dict[str, int], ready: int) -> None:
    """Let `ready` be so many, and the other fields as far behind it as they are."""
    behind = {field: counts["ready"] - counts[field] for field in FIELDS}
    counts |= {field: ready - late for field, late in behind.items()}
