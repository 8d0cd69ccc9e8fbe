"""How good a ranking is, on rankings whose worth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from misodice.data.preferences import Preferences
from misodice.data.ranking import top_k
from misodice.labelling.quality import plot_labels, quality, rank_quality, suggest_k, win_counts


def test_win_counts():
    preferences = Preferences(np.array([[0, 1], [2, 1], [0, 3], [3, 2]]), np.array([0, 1, -1, 0], np.int8), {})
    assert win_counts(5, preferences).tolist() == [1, 0, -2, 1, 0]


def test_a_perfect_ranking_and_its_reverse(battles):
    returns = battles.returns.astype(float)
    best = rank_quality(
        replace(battles, source=np.where(returns >= np.sort(returns)[-10], "expert", "poor")), returns, 10
    )
    assert best == pytest.approx({"quality": 1.0, "kendall_tau": 1.0, "precision_at_k": 1.0, "auroc": 1.0}, abs=1e-6)
    worst = rank_quality(battles, -returns, 10)
    assert worst["quality"] < 0
    assert worst["kendall_tau"] == pytest.approx(-1.0)


def test_a_random_choice_is_worth_nothing_on_average(battles):
    rng = np.random.default_rng(0)
    mean = np.mean([quality(battles, top_k(rng.random(30), 10)) for _ in range(2000)])
    assert mean == pytest.approx(0.0, abs=0.03)


def test_what_the_file_does_not_tell_is_null(battles):
    silent = replace(battles, returns=None, source=None)
    assert set(rank_quality(silent, np.arange(30.0), 10).values()) == {None}


@settings(max_examples=100)
@given(
    n=st.integers(30, 300),
    share=st.floats(0.1, 0.9),
    gap=st.floats(3.0, 100.0),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 999),
)
def test_the_gap_between_two_groups_is_found(n, share, gap, scale, seed):
    rng = np.random.default_rng(seed)
    k = int(np.clip(round(share * n), n // 20 + 1, n - n // 20 - 1))
    score = scale * (rng.random(n) + np.where(np.arange(n) < k, gap, 0.0))
    assert suggest_k(rng.permutation(score))[0] == k


def test_no_gap_where_all_scores_are_equal():
    assert suggest_k(np.ones(10)) == (10, 0.0)


def test_a_picture(battles, tmp_path):
    plot_labels(tmp_path / "a.png", battles, np.arange(30.0), 10)
    plot_labels(tmp_path / "b.png", replace(battles, returns=None, source=None), np.arange(30.0), 10)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
