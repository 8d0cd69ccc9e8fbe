"""Batches of the value stage: successors, absorbing rows and initial states."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.datamodules.batches import ValueBatch
from misodice.datamodules.successors import Successors
from misodice.datamodules.table import TransitionTable
from tests.helpers.small import served, table_of


def joined(batches: list[ValueBatch], field: str) -> torch.Tensor:
    return torch.cat([getattr(batch, field) for batch in batches])


def column(table: TransitionTable, agents: int | None = None) -> torch.Tensor:
    """The number of each transition, for each agent a hundred more."""
    numbers = torch.arange(float(table.n_transitions))
    return numbers if agents is None else torch.stack([numbers + 100 * agent for agent in range(agents)], dim=1)


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6), absorbing=st.booleans(), by_agent=st.booleans())
def test_every_transition_comes_once_with_its_successor(lengths, absorbing, by_agent):
    table = table_of(lengths)
    log_ratio = column(table, 3 if by_agent else None)
    batches = list(served(Successors(table, log_ratio, absorbing, 4, seed=0)).train_dataloader())
    numbers = joined(batches, "log_ratio")
    items = (numbers[:, 0] if by_agent else numbers).long()
    ends = torch.nonzero(table.last).flatten().tolist()
    assert sorted(items.tolist()) == sorted([*range(table.n_transitions), *(ends if absorbing else [])])
    obs, next_obs, last = joined(batches, "obs"), joined(batches, "next_obs"), joined(batches, "last")
    state, next_state = joined(batches, "state"), joined(batches, "next_state")
    final = (obs == table.obs[table.rows[items] + 1]).flatten(1).all(dim=1)
    assert int(final.sum()) == (len(lengths) if absorbing else 0)
    # A final state follows upon itself.
    here = table.rows[items] + final.long()
    assert torch.equal(obs, table.obs[here])
    assert torch.equal(state, table.state[here])
    assert torch.equal(next_obs, table.obs[table.rows[items] + 1])
    assert torch.equal(next_state, table.state[table.rows[items] + 1])
    assert torch.equal(last, torch.zeros(len(items)) if absorbing else table.last[items])


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


def test_two_processes_learn_from_what_one_does():
    table = table_of([3, 1, 4])
    alone = next(iter(served(Successors(table, column(table), False, 8, seed=0)).train_dataloader()))
    both = [
        next(iter(served(Successors(table, column(table), False, 4, 0), rank=rank, world_size=2).train_dataloader()))
        for rank in (0, 1)
    ]
    assert torch.equal(joined(both, "log_ratio"), alone.log_ratio)
    assert torch.equal(joined(both, "obs"), alone.obs)
