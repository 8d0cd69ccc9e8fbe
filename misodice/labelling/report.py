"""The `labels` part of summary.json, and the same for the eye: a table, one line on K, and a picture."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from misodice.datamodules.table import Transitions
from misodice.labelling.quality import plot_labels, rank_quality, suggest_k, win_counts

FIGURES = ("quality", "kendall_tau", "precision_at_k", "auroc")


def report_labels(data: Transitions, labeller: str | None, run_dir: Path, console: Console) -> dict[str, Any]:
    """How good D_E is, before and after the preference stage.

    Args:
        data: its `score` is known: the preference stage is done, or D_E is by return or oracle.
        labeller: name of who answered the pairs; None where none were asked for.
        run_dir: where labels.png goes.
        console: gets the table and the suggestion.
    """
    result: dict[str, Any] = {"labeller": labeller or data.ranking, "ties": None, **dict.fromkeys(FIGURES)}
    if labeller is None and data.ranking == "preference":
        return result | {"labeller": None}  # no stage of this method knows D_E
    if data.ranking != "preference":
        result |= rank_quality(data.episodes, data.score, data.k)
    if labeller is None:
        return result
    score = data.recovered
    after = rank_quality(data.episodes, score, data.k)
    before = rank_quality(data.episodes, win_counts(len(score), data.pairs.preferences), data.k)
    if data.ranking == "preference":
        result |= after
    preferences = data.pairs.preferences
    result |= {
        "ties": preferences.tie_share,
        "tie_reasons": preferences.tie_reasons,
        "position_consistency": preferences.position_consistency,
        "pair_accuracy": _pair_accuracy(data, score),
        "recovered": after,
        "win_counts": before,
    }
    _print(data, before, result, console)
    suggested, gap = suggest_k(score)
    console.print(
        f"the widest gap in the scores is after rank {suggested} ({gap:.2f} of their spread); data.k is {data.k}"
    )
    if importlib.util.find_spec("matplotlib") is None:
        console.print("no labels.png: it needs matplotlib, pip install 'misodice[plot]'")
    else:
        plot_labels(run_dir / "labels.png", data.episodes, score, data.k)
    return result


def _pair_accuracy(data: Transitions, score: np.ndarray) -> dict[str, float | None]:
    """Share of the labelled pairs, held out and not, whose better episode has the higher recovered return."""
    pairs = data.pairs
    first, second = score[pairs.pairs.numpy()].T
    right = (first > second) == (pairs.first.numpy() > 0)
    held_out = pairs.held_out
    return {
        name: float(right[chosen].mean()) if chosen.any() else None
        for name, chosen in (("held_out", held_out), ("trained", ~held_out))
    }


def _print(data: Transitions, before: dict[str, float | None], result: dict[str, Any], console: Console) -> None:
    table = Table("D_E", "quality", "Kendall τ", f"precision@{data.k}", "AUROC", "held-out pairs", title="labels")

    def row(name: str, figures: dict[str, float | None], accuracy: float | None) -> None:
        values = [*(figures[key] for key in FIGURES), accuracy]
        table.add_row(name, *("–" if value is None else f"{value:.2f}" for value in values))

    row("win counts alone", before, None)
    row("recovered reward", result["recovered"], result["pair_accuracy"]["held_out"])
    if data.ranking != "preference":
        row(f"used: {data.ranking}", result, None)
    console.print(table)
