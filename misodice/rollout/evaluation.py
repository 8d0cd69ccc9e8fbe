"""What a trained policy is worth: rollouts, the table on the terminal, and summary.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.envs.base import TeamEnv
from misodice.envs.engine import Engine
from misodice.rollout.actors import ActingPolicy, PolicyActor
from misodice.rollout.loop import rollout
from misodice.runs.console import Table
from misodice.runs.limits import COUNT, check_limits, whole

LIMITS = {"episodes": COUNT, "every_n_epochs": whole(0)}
AT_ONCE = 32
"""Environments that play side by side. The episodes of a seed depend on it."""


@dataclass
class Rollout:
    """Greedy rollouts of the policy while it trains and when it is done.

    Args:
        episodes: of each evaluation (Table 3: 32).
        every_n_epochs: between evaluations in the policy stage; 0 evaluates at the end alone.
    """

    episodes: int = 32
    every_n_epochs: int = 5

    def __post_init__(self) -> None:
        check_limits("rollout", LIMITS, vars(self))


class Evaluation:
    """Greedy episodes of a policy, with one seed for all evaluations.

    The environments are made at the first use, and are kept.

    Args:
        engine: where to play.
        episodes: of each evaluation.
        seed: of the episodes.
    """

    def __init__(self, engine: Engine, episodes: int, seed: int) -> None:
        self.engine, self.episodes, self.seed = engine, episodes, seed
        self._env: TeamEnv | None = None

    def play(self, policy: ActingPolicy) -> tuple[list[float], list[bool] | None, list[int]]:
        """Returns, wins (None where nothing is won) and lengths of each episode."""
        env = self._made()
        training = policy.training
        policy.eval()
        played = list(rollout(env, PolicyActor(policy), self.episodes, self.seed))
        policy.train(training)
        returns = [float(episode.rewards.sum(dtype=np.float64)) for episode in played if episode.rewards is not None]
        won = [bool(episode.won) for episode in played] if env.has_outcome else None
        return returns, won, [len(episode) for episode in played]

    @property
    def played_on(self) -> dict[str, Any]:
        """Engine, task, options and version of what is played on; the data may come from another version."""
        return self._made().header.env

    def _made(self) -> TeamEnv:
        if self._env is None:
            self._env = self.engine.make(min(self.episodes, AT_ONCE))
        return self._env


def evaluate(policy: ActingPolicy, evaluation: Evaluation, episodes: Episodes, console: Console) -> dict[str, Any]:
    """The `rollout` part of summary.json: greedy episodes beside the data's poor and expert means."""
    with console.status(f"{evaluation.episodes} greedy rollouts of {evaluation.engine.task}"):
        returns, won, _ = evaluation.play(policy)
    mean = float(np.mean(returns))
    poor, expert = reference_returns(episodes)
    return {
        "episodes": len(returns),
        "return_mean": mean,
        "return_std": float(np.std(returns)),
        "returns": returns,
        "win_rate": None if won is None else float(np.mean(won)),
        "normalised_score": normalised_score(mean, poor, expert),
    }


def normalised_score(value: float, poor: float | None, expert: float | None) -> float | None:
    """(return − poor)/(expert − poor); None where the file does not tell its sources."""
    if poor is None or expert is None or expert == poor:
        return None
    return (value - poor) / (expert - poor)


def reference_returns(episodes: Episodes) -> tuple[float | None, float | None]:
    """Mean true return of the episodes that are no expert's, and of the experts'; None where the file is silent."""
    if episodes.source is None or episodes.returns is None:
        return None, None
    poor = episodes.returns[episodes.source != "expert"]
    return (float(poor.mean()) if len(poor) else None), episodes.mean_return("expert")


def print_result(name: str, result: dict[str, Any], episodes: Episodes, console: Console) -> None:
    """A short table: the data's sources, and the policy."""
    env = episodes.header.env
    table = Table(title=f"{env.get('task', '–')} ({env.get('engine', '–')}), {result['episodes']} greedy rollouts")
    table.add_column("")
    for column in ("return", "win rate", "normalised"):
        table.add_column(column, justify="right")

    def wins(chosen: np.ndarray) -> str:
        return "–" if episodes.won is None or not chosen.any() else f"{episodes.won[chosen].mean():.2f}"

    poor, expert = reference_returns(episodes)
    if poor is not None and expert is not None and episodes.source is not None:
        table.add_row("data: poor", f"{poor:.2f}", wins(episodes.source != "expert"), "0.00")
        table.add_row("data: expert", f"{expert:.2f}", wins(episodes.source == "expert"), "1.00")
    rate, score = result["win_rate"], result["normalised_score"]
    table.add_row(
        name,
        f"{result['return_mean']:.2f} ± {result['return_std']:.2f}",
        "–" if rate is None else f"{rate:.2f}",
        "–" if score is None else f"{score:.2f}",
    )
    console.print(table)
