"""Batches of D_E beside D_U, and the marks of D_E."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

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


def test_no_held_out_episode_is_trained_on_and_half_of_the_draws_are_of_d_e():
    batches = list(data(Experts(EXPERT, HELD_OUT)).train_dataloader())
    items = [item for batch in batches for item in items_of(batch.step.obs)]
    trained = transitions(~HELD_OUT)
    assert len(items) == len(trained)
    assert set(items) <= set(trained)
    expert = set(transitions(EXPERT & ~HELD_OUT))
    p = len(expert) / len(trained)
    assert sum(item in expert for item in items) == pytest.approx(len(items) * (1 + p) / 2, abs=1)
    for batch in batches:
        for item, of_expert, of_union in zip(items_of(batch.step.obs), batch.expert, batch.union, strict=True):
            expected = (2 / (1 + p), 2 * p / (1 + p)) if item in expert else (0, 2)
            assert (of_expert.item(), of_union.item()) == pytest.approx(expected)


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=8), data=st.data())
@settings(max_examples=20)
def test_both_expectations_of_one_draw_are_those_of_d_e_and_d_u(lengths, data):
    """Of any function of a transition, over many epochs."""
    table = table_of(lengths)
    flags = st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))
    expert = np.array(data.draw(flags.filter(any)))
    value = torch.arange(float(sum(lengths))) % 5
    found = torch.zeros(2)
    union = ExpertsAndUnion(table, Experts(expert, np.zeros(len(lengths), bool)), batch_size=1000, seed=1)
    value_of = {one.numpy().tobytes(): float(number) for one, number in zip(table.obs[table.rows], value, strict=True)}
    epochs = 150
    for epoch in range(epochs):
        (batch,) = served(union, epoch).train_dataloader()
        drawn = torch.tensor([value_of[one.numpy().tobytes()] for one in batch.step.obs])
        found += torch.stack([(batch.expert * drawn).mean(), (batch.union * drawn).mean()]) / epochs
    mask = torch.from_numpy(np.repeat(expert, lengths))
    assert found.tolist() == pytest.approx([value[mask].mean().item(), value.mean().item()], abs=0.25)


def test_held_out_episodes_are_judged_by_in_order_and_each_once():
    held_out = data(Experts(EXPERT, HELD_OUT))
    assert held_out.holds_out
    (batch,) = held_out.val_dataloader()
    assert items_of(batch.step.obs) == transitions(HELD_OUT)
    assert batch.expert.mean().item() == pytest.approx(1.0)
    assert torch.nonzero(batch.expert).flatten().tolist() == list(range(1, 6))
    assert (batch.union == 1).all()


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
