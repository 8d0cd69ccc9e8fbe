"""Batches of pairs hold the real steps of their episodes, and nothing else."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from misodice.data.preferences import Preferences
from misodice.datamodules.pairs import PairedEpisodes
from misodice.datamodules.table import Transitions


@pytest.fixture(scope="module")
def data(smax_file) -> Transitions:
    transitions = Transitions(k=5)
    transitions.attach(smax_file, Path("unused"), seed=0)
    _ = transitions.episodes
    transitions.device = torch.device("cpu")
    return transitions


def paired(data: Transitions, pairs: list[list[int]], answer: list[int], held_out: float = 0.0) -> PairedEpisodes:
    return PairedEpisodes(data, Preferences(np.array(pairs), np.array(answer, np.int8), {}), held_out)


@settings(max_examples=30)
@given(
    pairs=st.lists(st.permutations(range(32)).map(lambda order: order[:2]), min_size=1, max_size=5),
    max_steps=st.integers(1, 80),
    drawn=st.booleans(),
)
def test_every_step_stands_for_as_many_as_it_should(data, pairs, max_steps, drawn):
    served = paired(data, pairs, [0] * len(pairs))
    generator = torch.Generator().manual_seed(0) if drawn else None
    batch = served._make(torch.arange(len(pairs)), slice(0, len(pairs)), max_steps, generator)
    lengths = data.episodes.length[np.array(pairs).ravel()]
    for side, (episode, length) in enumerate(zip(np.array(pairs).ravel(), lengths, strict=True)):
        chosen = batch.side == side
        assert int(chosen.sum()) == min(length, max_steps)
        assert float(batch.weight[chosen].sum()) == pytest.approx(length, rel=1e-4)
        first = int(data.episodes.length[:episode].sum())
        states = {row.tobytes() for row in data.episodes.state[first + episode : first + episode + length]}
        assert {row.numpy().tobytes() for row in batch.transition.state[chosen]} <= states
        if length <= max_steps:
            steps = slice(first, first + length)
            assert np.array_equal(batch.transition.actions[chosen].numpy(), data.episodes.actions[steps])
            assert np.array_equal(
                batch.transition.terminated[chosen].numpy(), data.episodes.terminated[steps].astype(np.float32)
            )


def test_processes_share_out_what_one_would_take(data):
    served = paired(data, [[0, 1], [2, 3], [4, 5], [6, 7]], [0, 1, 1, 0])

    def steps(mine: slice) -> torch.Tensor:
        batch = served._make(torch.arange(4), mine, 3, torch.Generator().manual_seed(0))
        assert sorted(set(batch.side.tolist())) == list(range(2 * (mine.stop - mine.start)))
        return batch.transition.obs

    assert torch.equal(torch.cat([steps(slice(0, 2)), steps(slice(2, 4))]), steps(slice(0, 4)))


def test_ties_are_left_out_and_winners_kept(data):
    served = paired(data, [[0, 1], [2, 3], [4, 5]], [1, -1, 0])
    assert served.pairs.tolist() == [[0, 1], [4, 5]]
    assert served.first.tolist() == [0.0, 1.0]


@settings(max_examples=50)
@given(count=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_held_out_pairs_are_a_share_and_never_all(count, share, seed):
    episodes = SimpleNamespace(length=np.ones(50, np.int64))
    served = PairedEpisodes(
        SimpleNamespace(seed=seed, episodes=episodes),
        Preferences(np.zeros((count, 2), np.int64), np.zeros(count, np.int8), {}),
        share,
    )
    chosen = int(served.held_out.sum())
    assert chosen <= max(0, count - 1)
    assert abs(chosen - share * count) <= 1 + (share == 1)
    assert (chosen > 0) == (share > 0 and count > 1)
