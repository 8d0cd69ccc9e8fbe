"""The `labels` part of summary.json, and the same for the eye: a table, one line on K, and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.data.pairs import LabelledPairs
from misodice.data.preferences import Preferences
from misodice.data.ranking import Ranking
from misodice.errors import MisodiceError
from misodice.labelling.quality import plot_labels, rank_quality, suggest_k, win_counts
from misodice.runs.console import Table

FIGURES = ("quality", "kendall_tau", "precision_at_k", "auroc")


def label_figures(
    episodes: Episodes,
    ranking: Ranking,
    k: int,
    score: np.ndarray | None,
    recovered: np.ndarray | None,
    preferences: Preferences | None,
    pairs: LabelledPairs | None,
    labeller: str | None,
) -> dict[str, Any]:
    """How good D_E is, before and after the preference stage; nothing is printed.

    Args:
        episodes: the file.
        ranking: what D_E is chosen by.
        k: number of episodes in D_E.
        score: what the episodes are ranked by, [E]; None where no stage of the method knows D_E.
        recovered: return of the recovered reward, [E]; None where there is no preference stage.
        preferences: the answers; None where no pair was asked for.
        pairs: the pairs with a winner; None where no pair was asked for.
        labeller: name of who answered; None where no pair was asked for.
    """
    chosen_by = None if score is None else ranking
    result: dict[str, Any] = {"labeller": labeller or chosen_by, "ties": None, **dict.fromkeys(FIGURES)}
    if score is not None:
        result |= rank_quality(episodes, score, k)
    if recovered is None or preferences is None or pairs is None:
        return result
    return result | {
        "ties": preferences.tie_share,
        "tie_reasons": preferences.tie_reasons,
        "position_consistency": preferences.position_consistency,
        "pair_accuracy": _pair_accuracy(pairs, recovered),
        "recovered": rank_quality(episodes, recovered, k),
        "win_counts": rank_quality(episodes, win_counts(len(recovered), preferences), k),
    }


def show_labels(
    figures: dict[str, Any],
    episodes: Episodes,
    ranking: Ranking,
    k: int,
    recovered: np.ndarray | None,
    run_dir: Path,
    console: Console,
) -> None:
    """The same for the eye; nothing where there is no preference stage.

    Args:
        figures: from `label_figures`.
        episodes: the file.
        ranking: what D_E is chosen by.
        k: number of episodes in D_E.
        recovered: return of the recovered reward, [E]; None where there is no preference stage.
        run_dir: where labels.png goes.
        console: gets the table and the suggestion of K.
    """
    if recovered is None:
        return
    _print(figures, ranking, k, console)
    suggested, gap = suggest_k(recovered)
    console.print(f"the widest gap in the scores is after rank {suggested} ({gap:.2f} of their spread); data.k is {k}")
    try:
        plot_labels(run_dir / "labels.png", episodes, recovered, k)
    except MisodiceError as error:  # the picture alone is missing then
        console.print(f"no labels.png: {error}")


def _pair_accuracy(pairs: LabelledPairs, score: np.ndarray) -> dict[str, float | None]:
    """Share of the labelled pairs, held out and not, whose better episode has the higher recovered return."""
    first, second = score[pairs.pairs].T
    right = (first > second) == pairs.first
    return {
        name: float(right[chosen].mean()) if chosen.any() else None
        for name, chosen in (("held_out", pairs.held_out), ("trained", ~pairs.held_out))
    }


def _print(result: dict[str, Any], ranking: Ranking, k: int, console: Console) -> None:
    table = Table("D_E", "quality", "Kendall τ", f"precision@{k}", "AUROC", "held-out pairs", title="labels")

    def row(name: str, figures: dict[str, float | None], accuracy: float | None) -> None:
        values = [*(figures[key] for key in FIGURES), accuracy]
        table.add_row(name, *("–" if value is None else f"{value:.2f}" for value in values))

    row("win counts alone", result["win_counts"], None)
    row("recovered reward", result["recovered"], result["pair_accuracy"]["held_out"])
    if ranking != "preference":
        row(f"used: {ranking}", result, None)
    console.print(table)
