"""Batches: what an epoch is made of."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from misodice.datamodules.loader import Batches


def epoch(weight: list[float] | None, size: int, world_size: int = 1, number: int = 0) -> np.ndarray:
    """All items of one epoch, of all processes one after another."""
    items = torch.arange(size)
    weights = None if weight is None else torch.tensor(weight)
    parts = [
        part
        for rank in range(world_size)
        for part in Batches(
            items, 4, torch.clone, torch.device("cpu"), 3, lambda: number, rank, world_size, weight=weights
        )
    ]
    return torch.cat(parts).numpy()


@given(st.lists(st.floats(0.0, 100.0, width=32), min_size=1, max_size=60), st.integers(0, 5))
def test_draws_are_as_many_as_the_weights_say_up_to_one(weight, number):
    if sum(weight) == 0:
        weight = [*weight, 1.0]
    counts = np.bincount(epoch(weight, len(weight), number=number), minlength=len(weight))
    expected = np.array(weight) / np.sum(weight) * len(weight)
    assert counts.sum() == len(weight)
    assert (np.abs(counts - expected) <= 1 + 1e-4).all()
    assert not counts[np.array(weight) == 0].any()


@pytest.mark.parametrize("world_size", [1, 2])
def test_equal_weights_draw_each_once(world_size):
    assert sorted(epoch([0.3] * 50, 50, world_size)) == sorted(epoch(None, 50, world_size)) == list(range(50))


def test_epochs_differ_and_can_be_made_again():
    first, second = epoch(None, 50), epoch(None, 50, number=1)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, epoch(None, 50))


@pytest.mark.parametrize("done", [0, 2, 7])
def test_an_epoch_that_was_cut_short_goes_on_where_it_stopped(done):
    def batches(number: int = 5) -> Batches[tuple[torch.Tensor, torch.Tensor]]:
        draw = lambda items, mine, generator: (items[mine], torch.rand(2, generator=generator))  # noqa: E731
        both = lambda *drawn: drawn  # noqa: E731
        return Batches(torch.arange(30), 4, both, torch.device("cpu"), 3, lambda: number, 0, 1, draw=draw)

    whole = list(batches())
    first = batches()
    passed = iter(first)
    for _ in range(done):
        next(passed)
    resumed = batches()
    resumed.load_state_dict(dict(first.state_dict()) if done else {"epoch": 5, "batches": 0})
    rest = list(resumed)
    assert len(rest) == len(whole) - done
    for (items, drawn), (expected, expected_draw) in zip(rest, whole[done:], strict=True):
        assert torch.equal(items, expected)
        assert torch.equal(drawn, expected_draw)
    # The next pass, and that of another epoch, are whole.
    assert len(list(resumed)) == len(whole)
    other = batches(6)
    other.load_state_dict({"epoch": 5, "batches": 3})
    assert len(list(other)) == len(whole)
