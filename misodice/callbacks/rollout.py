"""Greedy rollouts of the policy while it trains."""

from __future__ import annotations

import numpy as np
from lightning import Callback, LightningModule, Trainer

from misodice.rollout.evaluation import Evaluation


class LogRollouts(Callback):
    """Logs `rollout/return`, `rollout/return_std`, `rollout/win_rate` and `rollout/length`.

    Args:
        evaluation: plays the episodes.
        every_n_epochs: between evaluations; 0 never plays.
    """

    def __init__(self, evaluation: Evaluation, every_n_epochs: int) -> None:
        self.evaluation, self.every_n_epochs = evaluation, every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.every_n_epochs or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        if trainer.is_global_zero:
            # The policy stage is a LightningModule that acts.
            metrics = summarise(*self.evaluation.play(pl_module))  # type: ignore[arg-type]
            pl_module.log_dict(metrics, rank_zero_only=True)
        trainer.strategy.barrier()


def summarise(returns: list[float], won: list[bool] | None, lengths: list[int]) -> dict[str, float]:
    """The logged metrics of a set of episodes."""
    metrics = {"rollout/return": float(np.mean(returns)), "rollout/return_std": float(np.std(returns))}
    if won is not None:
        metrics["rollout/win_rate"] = float(np.mean(won))
    return metrics | {"rollout/length": float(np.mean(lengths))}
