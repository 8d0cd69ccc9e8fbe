"""Batches of D_E beside D_U, and the marks of D_E."""

import numpy as np
import pytest
import torch

from misodice.datamodules.experts import Experts
from misodice.datamodules.experts_and_union import ExpertMarks, ExpertsAndUnion
from tests.helpers.small import served, table_of

LENGTHS = [4, 1, 6, 3, 5]
TABLE = table_of(LENGTHS)
EXPERT = np.array([True, False, True, False, True])
HELD_OUT = np.array([False, True, False, False, True])


def transitions(episodes: np.ndarray) -> list[int]:
    return np.flatnonzero(np.repeat(episodes, LENGTHS)).tolist()


def items_of(obs: torch.Tensor) -> list[int]:
    """The transitions that these observations [B, n, O] are of."""
    known = TABLE.obs[TABLE.rows]
    return [int(torch.nonzero((known == one).flatten(1).all(dim=1)).item()) for one in obs]


def data(experts: Experts, epoch: int = 0) -> ExpertsAndUnion:
    return served(ExpertsAndUnion(TABLE, experts, batch_size=4, seed=1), epoch)


def test_no_held_out_episode_is_trained_on_and_experts_come_from_d_e():
    batches = list(data(Experts(EXPERT, HELD_OUT)).train_dataloader())
    union = [item for batch in batches for item in items_of(batch.union.obs)]
    assert sorted(union) == transitions(~HELD_OUT)
    expert = {item for batch in batches for item in items_of(batch.expert.obs)}
    assert expert <= set(transitions(EXPERT & ~HELD_OUT))
    assert all(len(batch.expert.obs) == len(batch.union.obs) for batch in batches)


def test_held_out_episodes_are_judged_by_in_order():
    held_out = data(Experts(EXPERT, HELD_OUT))
    assert held_out.holds_out
    (batch,) = held_out.val_dataloader()
    assert items_of(batch.union.obs) == transitions(HELD_OUT)
    assert set(items_of(batch.expert.obs)) <= set(transitions(EXPERT & HELD_OUT))
    (again,) = data(Experts(EXPERT, HELD_OUT), epoch=2).val_dataloader()
    assert torch.equal(batch.expert.obs, again.expert.obs)


def test_where_nothing_is_held_out_nothing_is_judged():
    nothing = data(Experts(EXPERT, np.zeros(5, bool)))
    assert not nothing.holds_out
    assert list(nothing.val_dataloader()) == []


def test_the_predict_pass_goes_over_all_of_d_u_in_order():
    obs = torch.cat([step.obs for step in data(Experts(EXPERT, HELD_OUT)).predict_dataloader()])
    assert items_of(obs) == list(range(sum(LENGTHS)))


@pytest.mark.parametrize("experts", [Experts(EXPERT, HELD_OUT), None])
def test_marks_are_of_d_e_held_out_or_not(experts):
    marks = served(ExpertMarks(TABLE, experts, batch_size=4, seed=1))
    found = torch.cat([flags.expert for flags in marks.predict_dataloader()])
    assert torch.nonzero(found).flatten().tolist() == ([] if experts is None else transitions(EXPERT))
    assert list(marks.train_dataloader()) == []
