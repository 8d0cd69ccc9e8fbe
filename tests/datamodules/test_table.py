"""The table of transitions: rows, successors, ends and statistics of episodes of any lengths."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.datamodules.table import TransitionTable
from tests.helpers.small import episodes_of, table_of

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@settings(max_examples=40)
@given(lengths=LENGTHS, discrete=st.booleans())
def test_each_transition_is_a_step_of_its_episode(lengths, discrete):
    episodes = episodes_of(lengths, discrete)
    table = TransitionTable.of(episodes)
    assert table.n_transitions == sum(lengths)
    whole = table.transition(torch.arange(sum(lengths)))
    step = table.step(torch.arange(sum(lengths)))
    assert torch.equal(step.obs, whole.obs)
    assert torch.equal(step.state, whole.state)
    assert torch.equal(step.actions, whole.actions)
    item = 0
    for index, episode in enumerate(episodes):
        mine = slice(item, item + len(episode))
        assert np.array_equal(whole.obs[mine], episode.obs[:-1])
        assert np.array_equal(whole.next_obs[mine], episode.obs[1:])
        assert np.array_equal(whole.state[mine], episode.state[:-1])
        assert np.array_equal(whole.next_state[mine], episode.state[1:])
        assert np.array_equal(whole.actions[mine], episode.actions)
        assert np.array_equal(whole.terminated[mine], episode.terminated)
        assert table.last[mine].tolist() == [0.0] * (len(episode) - 1) + [1.0]
        assert table.first_rows[index] == table.rows[item]
        if discrete:
            assert np.array_equal(table.available_actions[table.rows[mine]], episode.available_actions[:-1])
        item += len(episode)
    assert table.length.tolist() == lengths
    assert (table.available_actions is not None) == discrete


@settings(max_examples=20)
@given(lengths=LENGTHS, discrete=st.booleans(), seed=st.integers(0, 99))
def test_statistics_are_those_of_all_that_was_observed(lengths, discrete, seed):
    episodes = episodes_of(lengths, discrete, seed)
    spec = TransitionTable.of(episodes).spec
    seen = episodes.obs.reshape(-1, episodes.obs.shape[-1]).astype(np.float64)
    assert np.allclose(spec.obs_mean, seen.mean(axis=0))
    assert np.allclose(spec.obs_std, seen.std(axis=0))
    assert np.allclose(spec.state_mean, episodes.state.astype(np.float64).mean(axis=0))
    assert np.allclose(spec.state_std, episodes.state.astype(np.float64).std(axis=0))
    assert (spec.n_agents, spec.obs_dim, spec.state_dim, spec.n_actions) == (3, 4, 6, 5)
    assert (spec.discrete, spec.env, spec.obs_features) == (discrete, {"engine": "none"}, list("abcd"))
    assert spec.action_scale == (1.0 if discrete else 4.0)


def test_statistics_of_more_rows_than_are_added_at_once():
    """A file is summed up in pieces of 65536 rows."""
    episodes = episodes_of([23_000])
    spec = TransitionTable.of(episodes).spec
    seen = episodes.obs.reshape(-1, 4).astype(np.float64)
    assert len(seen) > 65536
    assert np.allclose(spec.obs_mean, seen.mean(axis=0))
    assert np.allclose(spec.obs_std, seen.std(axis=0))


def test_on_its_own_device_it_is_itself():
    table = table_of([3, 2])
    assert table.on(torch.device("cpu")) is table


def test_on_another_device_all_of_it_is_there():
    table = table_of([3, 2]).on(torch.device("meta"))
    assert table.device == torch.device("meta")
    for name in ("obs", "state", "actions", "available_actions", "rows", "first_rows", "last", "terminated", "length"):
        assert getattr(table, name).device == table.device


@pytest.mark.parametrize(("free", "moved"), [(10**9, True), (100, False)])
def test_what_would_fill_a_gpu_stays_where_it_is(monkeypatch, free, moved):
    tried = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tried.append(device) or tensor)
    table = table_of([3, 2])
    assert (table.on(torch.device("cuda", 0)) is not table) == moved
    assert bool(tried) == moved
