"""The pairs with a winner, and those that the reward is judged by."""

import numpy as np
from hypothesis import given, settings, strategies as st

from misodice.data.pairs import LabelledPairs
from misodice.data.preferences import Preferences


def test_ties_are_left_out_and_winners_kept():
    preferences = Preferences(np.array([[0, 1], [2, 3], [4, 5]]), np.array([1, -1, 0], np.int8), {})
    found = LabelledPairs.of(preferences, held_out=0.0, seed=0)
    assert found.pairs.tolist() == [[0, 1], [4, 5]]
    assert found.first.tolist() == [False, True]
    assert not found.held_out.any()


@settings(max_examples=50)
@given(count=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_held_out_pairs_are_a_share_and_never_all(count, share, seed):
    preferences = Preferences(np.zeros((count, 2), np.int64), np.zeros(count, np.int8), {})
    chosen = int(LabelledPairs.of(preferences, share, seed).held_out.sum())
    assert chosen <= max(0, count - 1)
    assert abs(chosen - share * count) <= 1 + (share == 1)
    assert (chosen > 0) == (share > 0 and count > 1)
