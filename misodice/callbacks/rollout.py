"""Greedy rollouts of the policy while it trains and when it is done."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from misodice.envs import EnvConfig, make_env
from misodice.envs.base import TeamEnv, rollout
from misodice.modules.policy import Policy
from misodice.rollout.collect import PolicyActor


class Rollout(Callback):
    """Logs `rollout/return`, `rollout/return_std`, `rollout/win_rate` and `rollout/length`.

    Args:
        episodes: of each evaluation (Table 3: 32).
        every_n_epochs: between evaluations in the policy stage; 0 evaluates at the end alone.
    """

    def __init__(self, episodes: int = 32, every_n_epochs: int = 5) -> None:
        self.episodes, self.every_n_epochs = episodes, every_n_epochs
        self._env: TeamEnv | None = None

    def attach(self, env_config: EnvConfig, seed: int) -> None:
        """Say where to play; the CLI does."""
        self.env_config, self.seed = env_config, seed

    @property
    def played_on(self) -> dict[str, Any]:
        """Engine, task, options and version of what was played on; the data may come from another version."""
        assert self._env is not None
        return self._env.header.env

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, Policy) or not self.every_n_epochs or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        if trainer.is_global_zero:
            metrics = summarise(*self.play(pl_module))
            pl_module.log_dict(metrics, rank_zero_only=True)
        trainer.strategy.barrier()

    def play(self, policy: Policy) -> tuple[list[float], list[bool] | None, list[int]]:
        """Returns, wins (None where nothing is won) and lengths of each episode, with one seed for all evaluations."""
        if self._env is None:
            self._env = make_env(self.env_config, min(self.episodes, 32))
        training = policy.training
        policy.eval()
        played = list(rollout(self._env, PolicyActor(policy), self.episodes, self.seed))
        policy.train(training)
        returns = [float(episode.rewards.sum(dtype=np.float64)) for episode in played if episode.rewards is not None]
        won = [bool(episode.won) for episode in played] if self._env.has_outcome else None
        return returns, won, [len(episode) for episode in played]


def summarise(returns: list[float], won: list[bool] | None, lengths: list[int]) -> dict[str, float]:
    """The logged metrics of a set of episodes."""
    metrics = {"rollout/return": float(np.mean(returns)), "rollout/return_std": float(np.std(returns))}
    if won is not None:
        metrics["rollout/win_rate"] = float(np.mean(won))
    return metrics | {"rollout/length": float(np.mean(lengths))}
