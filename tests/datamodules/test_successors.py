"""Batches of the value stage: successors, absorbing rows and initial states."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.datamodules.batches import ValueBatch
from misodice.datamodules.successors import Successors
from misodice.datamodules.table import TransitionTable
from tests.helpers.small import served, table_of


def joined(batches: list[ValueBatch], field: str) -> torch.Tensor:
    """A field of every transition, one after another."""
    windows = [getattr(batch, field)[:, : batch.last.shape[1]] for batch in batches]
    return torch.cat([window.flatten(0, 1) for window in windows])


def successors(batches: list[ValueBatch], field: str) -> torch.Tensor:
    """The field of what follows every transition."""
    pieces = []
    for batch in batches:
        rows = getattr(batch, field)
        following = rows[:, 1:]
        if batch.absorbing is not None:
            stays = batch.absorbing.reshape(*batch.absorbing.shape, *[1] * (rows.ndim - 2))
            following = torch.where(stays, rows[:, :-1], following)
        pieces.append(following.flatten(0, 1))
    return torch.cat(pieces)


def column(table: TransitionTable, agents: int | None = None) -> torch.Tensor:
    """The number of each transition, for each agent a hundred more."""
    numbers = torch.arange(float(table.n_transitions))
    return numbers if agents is None else torch.stack([numbers + 100 * agent for agent in range(agents)], dim=1)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    absorbing=st.booleans(),
    by_agent=st.booleans(),
    window=st.integers(1, 9),
    batch_size=st.integers(1, 12),
)
def test_every_transition_comes_once_with_its_successor(lengths, absorbing, by_agent, window, batch_size):
    table = table_of(lengths)
    log_ratio = column(table, 3 if by_agent else None)
    data = Successors(table, log_ratio, absorbing, batch_size, seed=0, window=window)
    batches = list(served(data).train_dataloader())
    assert all(len(batch) <= batch_size for batch in batches)
    numbers = joined(batches, "log_ratio")
    items = (numbers[:, 0] if by_agent else numbers).long()
    ends = torch.nonzero(table.last).flatten().tolist()
    expected = Counter([*range(table.n_transitions), *(ends if absorbing else [])])
    found = Counter(items.tolist())
    # A window that goes on at the beginning of D_U repeats less than its own length.
    assert not expected - found
    assert (found - expected).total() < batches[0].last.shape[1]
    obs, next_obs, last = joined(batches, "obs"), successors(batches, "obs"), joined(batches, "last")
    state, next_state = joined(batches, "state"), successors(batches, "state")
    final = (obs == table.obs[table.rows[items] + 1]).flatten(1).all(dim=1)
    assert final.any() == absorbing
    # A final state follows upon itself.
    here = table.rows[items] + final.long()
    assert torch.equal(obs, table.obs[here])
    assert torch.equal(state, table.state[here])
    assert torch.equal(last, torch.zeros(len(items)) if absorbing else table.last[items])
    # What is masked follows nothing.
    counts = last == 0
    assert torch.equal(next_obs[counts], table.obs[table.rows[items] + 1][counts])
    assert torch.equal(next_state[counts], table.state[table.rows[items] + 1][counts])


@pytest.mark.parametrize("absorbing", [True, False])
def test_windows_draw_every_transition_equally_often(absorbing):
    """Over many epochs: a window starts anywhere, and what it repeats is random."""
    table = table_of([3, 1, 6, 4])
    data = Successors(table, column(table), absorbing, 4, seed=0, window=4)
    epochs = 1200
    drawn = Counter[int]()
    for epoch in range(epochs):
        drawn.update(joined(list(served(data, epoch).train_dataloader()), "log_ratio").long().tolist())
    rows = 18 if absorbing else 14
    often = epochs * 4 * -(-rows // 4) / rows
    ends = {2, 3, 9, 13} if absorbing else set[int]()
    for item in range(14):
        assert drawn[item] / often == pytest.approx(2 if item in ends else 1, rel=0.05)


def test_initial_states_are_an_eighth_and_those_of_episodes():
    table = table_of([3] * 20)
    batches = list(served(Successors(table, column(table), False, 16, seed=0)).train_dataloader())
    firsts = {row.numpy().tobytes() for row in table.state[table.first_rows]}
    for batch in batches:
        assert len(batch.initial_obs) == len(batch.initial_state) == -(-len(batch) // 8)
        assert {row.numpy().tobytes() for row in batch.initial_state} <= firsts


@pytest.mark.parametrize("absorbing", [True, False])
def test_the_predict_pass_has_no_absorbing_rows(absorbing):
    table = table_of([3, 1, 4])
    batches = list(served(Successors(table, column(table), absorbing, 2, seed=0)).predict_dataloader())
    assert joined(batches, "log_ratio").tolist() == list(range(8))
    assert torch.equal(joined(batches, "last"), table.last)
    counts = (table.last == 0) | absorbing
    assert torch.equal(successors(batches, "obs")[counts], table.obs[table.rows + 1][counts])


def test_two_processes_learn_from_what_one_does():
    table = table_of([3, 1, 4])
    alone = next(iter(served(Successors(table, column(table), False, 8, seed=0)).train_dataloader()))
    both = [
        next(iter(served(Successors(table, column(table), False, 4, 0), rank=rank, world_size=2).train_dataloader()))
        for rank in (0, 1)
    ]
    assert torch.equal(joined(both, "log_ratio"), joined([alone], "log_ratio"))
    assert torch.equal(joined(both, "obs"), joined([alone], "obs"))
