"""What a trained policy is worth: rollouts, the table on the terminal, and summary.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from misodice.callbacks.rollout import Rollout
from misodice.data.episodes import Episodes
from misodice.modules.policy import Policy


def evaluate(policy: Policy, rollout: Rollout, episodes: Episodes, console: Console) -> dict[str, Any]:
    """The `rollout` part of summary.json: greedy episodes beside the data's poor and expert means."""
    with console.status(f"{rollout.episodes} greedy rollouts of {rollout.env_config.task}"):
        returns, won, _ = rollout.play(policy)
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
    table = Table(title=f"{env['task']} ({env['engine']}), {result['episodes']} greedy rollouts")
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
