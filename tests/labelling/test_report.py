"""The `labels` part of summary.json."""

from dataclasses import replace

import numpy as np
import pytest

from misodice.data.pairs import LabelledPairs
from misodice.data.preferences import CODES, Preferences, sample_pairs
from misodice.labelling import RuleLabeller
from misodice.labelling.quality import rank_quality, win_counts
from misodice.labelling.report import FIGURES, label_figures, show_labels

K = 10


@pytest.fixture
def preferences(battles):
    pairs = sample_pairs(battles.n_episodes, 60, 0)
    answer = [CODES[RuleLabeller(0.2).compare(battles, *pair)] for pair in pairs.tolist()]
    return Preferences(pairs, np.array(answer, np.int8), {})


def report(battles, tmp_path, console, ranking, score, recovered=None, preferences=None, labeller=None):
    pairs = None if preferences is None else LabelledPairs.of(preferences, 0.1, 0)
    figures = label_figures(battles, ranking, K, score, recovered, preferences, pairs, labeller)
    show_labels(figures, battles, ranking, K, recovered, tmp_path, console)
    return figures


def test_a_method_that_knows_no_experts(battles, tmp_path, console):
    result = report(battles, tmp_path, console, "preference", None)
    assert result == {"labeller": None, "ties": None, **dict.fromkeys(FIGURES)}
    assert console.export_text() == ""


def test_experts_by_return_without_labels(battles, tmp_path, console):
    score = battles.returns.astype(float)
    result = report(battles, tmp_path, console, "return", score)
    assert result == {"labeller": "return", "ties": None, **rank_quality(battles, score, K)}
    assert not list(tmp_path.iterdir())


def test_recovered_rewards(battles, tmp_path, console, preferences):
    recovered = battles.returns.astype(float)
    result = report(battles, tmp_path, console, "preference", recovered, recovered, preferences, "RuleLabeller")
    assert result["labeller"] == "RuleLabeller"
    assert result["quality"] == result["recovered"]["quality"] == pytest.approx(1.0)
    assert result["win_counts"] == rank_quality(battles, win_counts(30, preferences), K)
    right = preferences.answer == np.where(battles.returns[preferences.pairs].argmax(axis=1) == 0, 0, 1)
    chosen = LabelledPairs.of(preferences, 0.1, 0).held_out
    assert result["pair_accuracy"] == pytest.approx(
        {"held_out": right[chosen].mean(), "trained": right[~chosen].mean()}
    )
    said = console.export_text()
    assert "win counts alone" in said
    assert "data.k is 10" in said
    assert "used:" not in said
    assert (tmp_path / "labels.png").is_file()


def test_labels_beside_experts_by_return(battles, tmp_path, console, preferences):
    recovered = -battles.returns.astype(float)
    score = battles.returns.astype(float)
    result = report(battles, tmp_path, console, "return", score, recovered, preferences, "RuleLabeller")
    assert result["quality"] == pytest.approx(1.0)
    assert result["recovered"]["quality"] < 0
    assert "used: return" in console.export_text()


def test_episodes_of_no_known_engine(battles, tmp_path, console, preferences):
    unknown = replace(battles, header=replace(battles.header, env={}))
    recovered = np.arange(30.0)
    result = report(unknown, tmp_path, console, "preference", recovered, recovered, preferences, "RuleLabeller")
    assert result["quality"] is not None
    assert (tmp_path / "labels.png").is_file()
