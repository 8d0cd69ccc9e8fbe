"""The value stage: what it masks, what it reads, and its weights."""

from functools import partial

import pytest
import torch

from misodice.datamodules.batches import ValueBatch
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.successors import Successors
from misodice.errors import MisodiceError
from misodice.modules import AgentMLP, IndependentMixer, Value, VDNMixer, dice
from tests.helpers.small import served, table_of

TABLE = table_of([4, 1, 5])
SMALL = partial(AgentMLP, hidden=(8,))


def built(**options) -> Value:
    torch.manual_seed(0)
    stage = Value(**{"network": SMALL, "mixer": VDNMixer, **options})
    stage._build(TABLE.spec)
    return stage


def batch(last: float, log_ratio: torch.Tensor | None = None, other_successor: bool = False) -> ValueBatch:
    torch.manual_seed(1)
    obs, state = torch.randn(6, 3, 4), torch.randn(6, 6)
    ratio = torch.randn(6)
    following = torch.randn(6, 3, 4), torch.randn(6, 6)
    if other_successor:
        following = following[0] + 1.0, following[1] + 1.0
    rows = (torch.stack(pair, dim=1) for pair in zip((obs, state), following, strict=True))
    ratio = (ratio if log_ratio is None else log_ratio).unsqueeze(1)
    return ValueBatch(*rows, torch.full((6, 1), last), ratio, obs[:1], state[:1])


@pytest.mark.parametrize(("mask_last", "last", "matters"), [(True, 1.0, False), (True, 0.0, True), (False, 1.0, True)])
def test_what_follows_an_episode_s_end_is_masked(mask_last, last, matters):
    stage = built(mask_last=mask_last)
    first, other = (stage.loss(batch(last, other_successor=moved))[0].item() for moved in (False, True))
    assert (first != other) == matters
    weights = [stage.predict_step(batch(last, other_successor=moved), 0)["weight"] for moved in (False, True)]
    assert torch.equal(*weights) != matters


def test_the_loss_is_the_dual_s():
    stage = built(alpha=0.5, gamma=0.9)
    given = batch(0.0)
    nu, next_nu = (stage(given.obs[:, row], given.state[:, row]) for row in (0, 1))
    advantage = given.log_ratio[:, 0] + 0.9 * next_nu - nu
    initial = stage(given.initial_obs, given.initial_state)
    expected = 0.1 * initial.mean() + 1.5 * torch.exp(advantage / 1.5 - 1).mean()
    assert torch.allclose(stage.loss(given)[0], expected, rtol=1e-5)
    assert torch.allclose(stage.predict_step(given, 0)["weight"], advantage / 1.5 - 1, atol=1e-5)


def test_a_ratio_by_agent_is_summed_for_one_value_and_kept_for_one_of_each():
    ratio = torch.randn(6, 3)
    one = built()
    assert torch.allclose(
        one.predict_step(batch(0.0, ratio), 0)["weight"], one.predict_step(batch(0.0, ratio.sum(1)), 0)["weight"]
    )
    each = built(mixer=IndependentMixer)
    assert each.predict_step(batch(1.0, ratio), 0)["weight"].shape == (6, 3)
    assert torch.equal(
        each.predict_step(batch(1.0, ratio[:, 0]), 0)["weight"],
        each.predict_step(batch(1.0, ratio[:, :1].expand(6, 3)), 0)["weight"],
    )


@pytest.mark.parametrize("mask_last", [True, False])
def test_absorbing_rows_are_for_what_is_not_masked(mask_last):
    stage = Value(mask_last=mask_last, ratio="reward", window=1)
    assert stage.reads == ("reward",)
    inputs = Inputs(TABLE, {"reward": torch.arange(10.0)}, None, None, 64, 0)
    (given,) = served(stage.datamodule(inputs)).train_dataloader()
    assert len(given) == 10 + (0 if mask_last else 3)
    assert given.last.sum() == (3 if mask_last else 0)
    assert sorted(given.log_ratio.flatten().tolist()) == sorted([*range(10), *([] if mask_last else [3, 4, 9])])


@pytest.mark.parametrize("mask_last", [True, False])
@pytest.mark.parametrize("mixer", [VDNMixer, IndependentMixer])
def test_a_window_is_its_transitions_one_by_one(mask_last, mixer):
    """The same advantages, whether a window's rows are evaluated together or each transition's two alone."""
    stage = built(mixer=mixer, mask_last=mask_last, window=4)
    data = served(Successors(TABLE, torch.arange(10.0), not mask_last, batch_size=16, seed=0, window=4))
    (given,) = data.train_dataloader()
    windows, length = given.last.shape
    assert (windows, length) == (4 if not mask_last else 3, 4)
    (found,) = stage.advantage(given)
    for number, advantage in enumerate(found.unflatten(0, (windows, length)).flatten(0, 1)):
        window, place = divmod(number, length)
        here = slice(place, place + 1) if given.absorbing is not None and given.absorbing[window, place] else None
        following = here or slice(place + 1, place + 2)
        here = slice(place, place + 1)
        alone = ValueBatch(
            torch.cat([given.obs[window, here], given.obs[window, following]])[None],
            torch.cat([given.state[window, here], given.state[window, following]])[None],
            given.last[window, here][None],
            given.log_ratio[window, here][None],
            given.initial_obs,
            given.initial_state,
        )
        assert torch.allclose(stage.advantage(alone)[0][0], advantage, atol=1e-6)


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_finished_weights_have_mean_one_and_a_greatest(shape):
    torch.manual_seed(0)
    log_weight = torch.randn(shape)
    log_weight[:3] = 20.0
    stage = Value(max_weight=5.0)
    weight = stage.finish({"weight": log_weight})["weight"]
    assert weight.dtype == torch.float32
    assert torch.allclose(weight.mean(dim=0), torch.ones(shape[1:]))
    expected = dice.normalise_weights(log_weight.double(), 5.0)
    assert torch.allclose(weight.double(), expected, rtol=1e-6)
    assert (weight[:3] == weight.amax(dim=0)).all()
    assert (weight[3:] < weight[0]).all()
    assert stage.column_metrics({"weight": weight})["value/max_weight"] == pytest.approx(weight.max().item())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "logsumexp"}, "objective logsumexp with mask_last true is unbounded below"),
        ({"alpha": -0.1}, "value.alpha: found -0.1"),
        ({"gamma": 1.1}, "value.gamma: found 1.1"),
        ({"max_weight": 0.5}, "value.max_weight: found 0.5"),
        ({"alpha": float("nan")}, "value.alpha: found nan"),
        ({"lr": 0.0}, "value.lr: found 0.0"),
        ({"epochs": 0}, "value.epochs: found 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(MisodiceError, match=words):
        Value(**options)
