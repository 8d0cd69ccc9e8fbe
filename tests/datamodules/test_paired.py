"""Batches of pairs hold the real steps of their episodes, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.data.pairs import LabelledPairs
from misodice.datamodules.paired import PairedEpisodes
from misodice.datamodules.table import TransitionTable
from tests.helpers.small import episodes_of, served

# As many as SMAX's: from one step to a few dozen.
EPISODES = episodes_of([1 + 7 * index % 37 for index in range(32)])
TABLE = TransitionTable.of(EPISODES)


def paired(pairs: list[list[int]], first: list[bool], held_out: list[bool] | None = None, max_steps=20, batch_size=64):
    labelled = LabelledPairs(np.array(pairs), np.array(first), np.array(held_out or [False] * len(pairs)))
    return served(PairedEpisodes(TABLE, labelled, batch_size, max_steps, seed=0))


@settings(max_examples=30)
@given(
    pairs=st.lists(st.permutations(range(32)).map(lambda order: order[:2]), min_size=1, max_size=5),
    max_steps=st.integers(1, 80),
    drawn=st.booleans(),
)
def test_every_step_stands_for_as_many_as_it_should(pairs, max_steps, drawn):
    data = paired(pairs, [True] * len(pairs), max_steps=max_steps)
    generator = torch.Generator().manual_seed(0) if drawn else None
    batch = data._gather(*data._draw(torch.arange(len(pairs)), slice(0, len(pairs)), generator))
    lengths = EPISODES.length[np.array(pairs).ravel()]
    for side, (episode, length) in enumerate(zip(np.array(pairs).ravel(), lengths, strict=True)):
        chosen = batch.side == side
        assert int(chosen.sum()) == min(length, max_steps)
        assert float(batch.weight[chosen].sum()) == pytest.approx(length, rel=1e-4)
        first = int(EPISODES.length[:episode].sum())
        states = {row.tobytes() for row in EPISODES.state[first + episode : first + episode + length]}
        assert {row.numpy().tobytes() for row in batch.transition.state[chosen]} <= states
        if length <= max_steps:
            steps = slice(first, first + length)
            assert np.array_equal(batch.transition.actions[chosen].numpy(), EPISODES.actions[steps])
            assert np.array_equal(
                batch.transition.terminated[chosen].numpy(), EPISODES.terminated[steps].astype(np.float32)
            )


def test_processes_share_out_what_one_would_take():
    data = paired([[0, 1], [2, 3], [4, 5], [6, 7]], [True, False, False, True], max_steps=3)

    def steps(mine: slice) -> torch.Tensor:
        batch = data._gather(*data._draw(torch.arange(4), mine, torch.Generator().manual_seed(0)))
        assert sorted(set(batch.side.tolist())) == list(range(2 * (mine.stop - mine.start)))
        return batch.transition.obs

    assert torch.equal(torch.cat([steps(slice(0, 2)), steps(slice(2, 4))]), steps(slice(0, 4)))


def test_held_out_pairs_are_not_trained_on():
    data = paired([[0, 1], [2, 3], [4, 5]], [True, False, True], held_out=[False, True, False], batch_size=1)
    assert data.holds_out
    assert sorted(batch.first.item() for batch in data.train_dataloader()) == [1.0, 1.0]
    (held_out,) = data.val_dataloader()
    assert held_out.first.tolist() == [0.0]
    assert not paired([[0, 1]], [True]).holds_out


def test_held_out_steps_are_the_same_each_time():
    """What a stage is judged by does not change with the draw."""
    data = paired([[8, 9]], [True], held_out=[True], max_steps=3)
    (once,), (again,) = data.val_dataloader(), served(data, epoch=3).val_dataloader()
    assert torch.equal(once.transition.obs, again.transition.obs)


def test_the_predict_pass_goes_over_all_of_d_u_in_order():
    data = paired([[0, 1]], [True])
    obs = torch.cat([batch.obs for batch in data.predict_dataloader()])
    assert torch.equal(obs, TABLE.transition(torch.arange(TABLE.n_transitions)).obs)
