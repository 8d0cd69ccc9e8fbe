"""Which episodes the discriminator is judged by."""

import numpy as np
from hypothesis import given, settings, strategies as st

from misodice.datamodules.experts import Experts


@settings(max_examples=60)
@given(
    expert=st.lists(st.booleans(), min_size=1, max_size=60),
    share=st.floats(0.0, 0.9),
    seed=st.integers(0, 99),
)
def test_the_same_share_of_d_e_and_of_the_rest_is_held_out(expert, share, seed):
    expert = np.array(expert)
    found = Experts.of(expert, share, seed)
    assert np.array_equal(found.expert, expert)
    if share == 0 or expert.sum() < 2:  # nothing to judge an expert's log ratio by
        assert not found.held_out.any()
        return
    for group in (expert, ~expert):
        chosen = int((found.held_out & group).sum())
        if group.sum() < 2:
            assert chosen == 0
        else:
            assert chosen == min(max(1, round(share * group.sum())), group.sum() - 1)
    assert np.array_equal(found.held_out, Experts.of(expert, share, seed).held_out)


def test_another_seed_holds_out_others():
    expert = np.arange(40) < 20
    assert not np.array_equal(Experts.of(expert, 0.2, 0).held_out, Experts.of(expert, 0.2, 1).held_out)
