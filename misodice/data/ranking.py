"""labels.h5: the score of every episode and which are D_E."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from misodice.data.episodes import Episodes
from misodice.data.hdf5 import whole_file
from misodice.errors import MisodiceError

Ranking = Literal["preference", "return", "oracle"]


def check_ranking(episodes: Episodes, ranking: Ranking, k: int, path: str) -> None:
    """Refuse before any training what could not be ranked after it.

    Raises:
        MisodiceError: k is larger than the number of episodes, or the file lacks what the ranking reads.
    """
    if not 0 < k <= episodes.n_episodes:
        raise MisodiceError(
            f"{path}: data.k is {k}, expected 1 to {episodes.n_episodes}, the number of episodes; lower it"
        )
    for field, values in (("return", episodes.returns), ("source", episodes.source)):
        if ranking == {"return": "return", "source": "oracle"}[field] and values is None:
            raise MisodiceError(
                f"{path}: field 'episode/{field}' is missing, which data.ranking {ranking} reads; use another"
            )


def rank_episodes(episodes: Episodes, ranking: Literal["return", "oracle"]) -> np.ndarray:
    """Score of every episode, [E], without a learnt reward: the greatest K are D_E.

    "return" is the true return; "oracle" 1 for the source "expert", so that D_E is drawn from it in file order.
    """
    if ranking == "return":
        assert episodes.returns is not None
        return episodes.returns.astype(np.float64)
    return np.asarray(episodes.source == "expert", np.float64)


def recovered_returns(reward: np.ndarray, length: np.ndarray) -> np.ndarray:
    """G(σ) = Σ R(s, a) of every episode, [E] (Algorithm 2).

    Args:
        reward: of every transition, [T].
        length: transitions of each episode, int64 [E].
    """
    return np.asarray(np.add.reduceat(reward.astype(np.float64), np.cumsum(length) - length))


def top_k(score: np.ndarray, k: int) -> np.ndarray:
    """Which episodes are D_E, bool [E]: the k greatest scores, the earlier episode first where they tie."""
    expert = np.zeros(len(score), bool)
    expert[np.argsort(-score, kind="stable")[:k]] = True
    return expert


def write_labels(path: Path, score: np.ndarray, expert: np.ndarray, fingerprint: str) -> None:
    """Write labels.h5 whole or not at all."""
    with whole_file(path) as file:
        file["score"], file["expert"] = score, expert
        file.attrs["fingerprint"] = fingerprint
