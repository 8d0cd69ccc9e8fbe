"""labels.h5: the score of every episode and which are D_E."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from misodice.data.episodes import Episodes
from misodice.errors import MisodiceError


def rank_episodes(episodes: Episodes, ranking: Literal["return", "oracle"], k: int, path: str) -> np.ndarray:
    """Score of every episode, [E]: the greatest `k` are D_E.

    "return" is the true return; "oracle" is 1 for the source "expert", so that D_E is drawn from it in file order.

    Raises:
        MisodiceError: k is larger than the number of episodes, or the file lacks what the ranking reads.
    """
    if not 0 < k <= episodes.n_episodes:
        raise MisodiceError(
            f"{path}: data.k is {k}, expected 1 to {episodes.n_episodes}, the number of episodes; lower it"
        )
    if ranking == "return":
        if episodes.returns is None:
            raise MisodiceError(
                f"{path}: field 'episode/return' is missing, which data.ranking return reads; use another"
            )
        return episodes.returns.astype(np.float64)
    if episodes.source is None:
        raise MisodiceError(f"{path}: field 'episode/source' is missing, which data.ranking oracle reads; use another")
    return np.asarray(episodes.source == "expert", np.float64)


def top_k(score: np.ndarray, k: int) -> np.ndarray:
    """Which episodes are D_E, bool [E]: the k greatest scores, the earlier episode first where they tie."""
    expert = np.zeros(len(score), bool)
    expert[np.argsort(-score, kind="stable")[:k]] = True
    return expert


def quality(episodes: Episodes, expert: np.ndarray) -> float | None:
    """(mean return of D_E − of D_U)/(of the ideal top K − of D_U): 0 for a random choice, 1 for the best possible."""
    returns = episodes.returns
    if returns is None:
        return None
    spread = np.sort(returns)[-int(expert.sum()) :].mean() - returns.mean()
    return float((returns[expert].mean() - returns.mean()) / spread) if spread > 0 else None


def precision(episodes: Episodes, expert: np.ndarray) -> float | None:
    """Share of D_E whose true source is "expert"; None where the file does not tell."""
    return None if episodes.source is None else float((episodes.source[expert] == "expert").mean())


def write_labels(path: Path, score: np.ndarray, expert: np.ndarray, fingerprint: str) -> None:
    """Write labels.h5 whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with h5py.File(temporary, "w") as file:
        file["score"], file["expert"] = score, expert
        file.attrs["fingerprint"] = fingerprint
    os.replace(temporary, path)
