"""How good the labels are: what is reported, and never trained on (design of Phase 1, step 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.regression import kendall_rank_corrcoef

from misodice.data.episodes import Episodes
from misodice.data.preferences import FIRST, Preferences
from misodice.data.ranking import top_k
from misodice.runs.pictures import new_figure


def win_counts(n_episodes: int, preferences: Preferences) -> np.ndarray:
    """Won minus lost pairs of every episode, [E]: the ranking that needs no learning."""
    pairs = preferences.pairs[preferences.informative]
    first = preferences.answer[preferences.informative] == FIRST
    winner, loser = np.where(first[:, None], pairs, pairs[:, ::-1]).T
    wins, losses = (np.bincount(index, minlength=n_episodes) for index in (winner, loser))
    return np.asarray(wins - losses, np.float64)


def quality(episodes: Episodes, expert: np.ndarray) -> float | None:
    """(mean return of D_E − of D_U)/(of the ideal top K − of D_U): 0 for a random choice, 1 for the best possible."""
    returns = episodes.returns
    if returns is None:
        return None
    spread = np.sort(returns)[-int(expert.sum()) :].mean() - returns.mean()
    return float((returns[expert].mean() - returns.mean()) / spread) if spread > 0 else None


def rank_quality(episodes: Episodes, score: np.ndarray, k: int) -> dict[str, float | None]:
    """quality, kendall_tau, precision_at_k and auroc of a ranking; None for what the file cannot tell."""
    expert = top_k(score, k)
    result: dict[str, float | None] = dict.fromkeys(("quality", "kendall_tau", "precision_at_k", "auroc"))
    result["quality"] = quality(episodes, expert)
    ranked = torch.from_numpy(score)
    if episodes.returns is not None:
        tau = kendall_rank_corrcoef(ranked, torch.from_numpy(episodes.returns).double())
        assert isinstance(tau, torch.Tensor)
        result["kendall_tau"] = float(tau)
    if episodes.source is not None:
        true = episodes.source == "expert"
        result["precision_at_k"] = float(true[expert].mean())
        if 0 < true.sum() < len(true):
            # Ranks for scores: AUROC squashes what lies outside [0, 1] with a sigmoid, where large scores are equal.
            order = torch.from_numpy(np.unique(score, return_inverse=True)[1] / len(score))
            result["auroc"] = float(binary_auroc(order, torch.from_numpy(true).long()))
    return result


def suggest_k(score: np.ndarray) -> tuple[int, float]:
    """Where the ranked scores fall most between two neighbours, and that fall in units of their spread.

    The outermost twentieth at either end is left out: single outliers always leave gaps there.
    """
    ranked = np.sort(score)[::-1]
    margin = len(ranked) // 20 + 1
    gaps = (ranked[:-1] - ranked[1:])[margin - 1 : len(ranked) - margin]
    if not len(gaps) or ranked[0] == ranked[-1]:
        return len(ranked), 0.0
    k = margin + int(gaps.argmax())
    return k, float((ranked[k - 1] - ranked[k]) / ranked.std())


def plot_labels(path: Path, episodes: Episodes, score: np.ndarray, k: int) -> None:
    """A picture of the ranking: the sorted scores with K and the suggested gap, and recovered against true return."""
    figure = new_figure(9, 3.5)
    left, right = figure.subplots(1, 2)
    suggested, _ = suggest_k(score)
    left.plot(np.sort(score)[::-1], linewidth=1)
    left.axvline(k, color="tab:red", linewidth=1, label=f"K = {k}")
    left.axvline(suggested, color="tab:green", linewidth=1, linestyle="--", label=f"widest gap: {suggested}")
    left.set(xlabel="rank", ylabel="score", title="ranked episodes")
    left.legend()
    if episodes.returns is None:
        right.text(0.5, 0.5, "the file has no returns", ha="center")
    else:
        source = np.full(len(score), "all") if episodes.source is None else episodes.source
        for name in np.unique(source):
            right.scatter(episodes.returns[source == name], score[source == name], s=6, alpha=0.5, label=name)
        right.set(xlabel="true return", ylabel="recovered return", title=episodes.header.env.get("task", ""))
        right.legend()
    figure.savefig(path, dpi=150)
