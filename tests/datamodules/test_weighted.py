"""Batches of the policy stage: drawn by half of their weight, weighed by what is left of it."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.datamodules.weighted import Weighted
from tests.helpers.small import served, table_of

TABLE = table_of([5, 3, 8, 4])


@settings(max_examples=30)
@given(weight=st.lists(st.floats(0, 50, width=32), min_size=20, max_size=20).filter(any), by_agent=st.booleans())
def test_draws_times_what_is_left_are_the_weights(weight, by_agent):
    weight = torch.tensor(weight)
    if by_agent:
        weight = torch.stack([weight, weight.flip(0), weight.roll(3)], dim=1)
    weight = weight / weight.mean(dim=0)
    data = Weighted(TABLE, weight, batch_size=4, seed=0)
    drawn = data.drawn if not by_agent else data.drawn.unsqueeze(-1)
    assert torch.allclose(drawn * data.left, weight, atol=1e-5)
    # Half of the draws are uniform: none is drawn less than half as often as others of weight 0 or counts more than 2.
    assert data.drawn.min() >= 0.5
    assert data.drawn.mean().item() == pytest.approx(1.0, abs=1e-5)
    assert data.left.mean(dim=-1).max() <= 2.0 if by_agent else data.left.max() <= 2.0


def test_equal_weights_draw_each_transition_once():
    batches = list(served(Weighted(TABLE, torch.ones(20), batch_size=6, seed=0)).train_dataloader())
    obs = torch.cat([batch.obs for batch in batches])
    assert sorted(row.numpy().tobytes() for row in obs) == sorted(
        row.numpy().tobytes() for row in TABLE.obs[TABLE.rows]
    )
    assert torch.equal(torch.cat([batch.weight for batch in batches]), torch.ones(20))


def test_actions_were_available_where_they_were_taken():
    for batch in served(Weighted(TABLE, torch.ones(20), batch_size=6, seed=0)).train_dataloader():
        assert batch.available_actions.gather(-1, batch.actions.unsqueeze(-1)).all()


def test_continuous_actions_have_no_availability():
    table = table_of([4, 4], discrete=False)
    (batch,) = served(Weighted(table, torch.ones(8), batch_size=8, seed=0)).train_dataloader()
    assert batch.available_actions is None
    assert batch.actions.shape == (8, 3, 5)
