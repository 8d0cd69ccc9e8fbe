"""How long a stage is expected to be before it begins."""

from __future__ import annotations

from misodice.modules.stage import Stage
from misodice.pipeline.trainers import TrainerOptions


def expected_steps(stage: Stage, transitions: int, pairs: int | None, batch_size: int, trainer: TrainerOptions) -> int:
    """Steps of the stage, about: its datamodule, which knows them, needs what the stages before it write.

    Args:
        stage: which.
        transitions: of D_U.
        pairs: labelled pairs that are learnt from; None where there are none.
        batch_size: transitions of a batch of one process.
        trainer: how many epochs and batches.
    """
    if not stage.trained:
        return 0
    items, batch = transitions, batch_size
    if stage.needs_pairs and pairs is not None:
        items, batch = pairs, getattr(stage, "pairs", batch_size)
    batches = -(-items // batch)
    limit = trainer.given.get("limit_train_batches")
    if isinstance(limit, int) and not isinstance(limit, bool):
        batches = min(batches, limit)
    elif isinstance(limit, float):
        batches = int(batches * limit)
    epochs, most = trainer.epochs(stage.epochs), trainer.given.get("max_steps") or -1
    if epochs < 0:
        return max(most, 0)
    return min(epochs * batches, most) if most >= 0 else epochs * batches
