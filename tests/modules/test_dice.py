"""The maths functions against values worked out otherwise."""

import math

import torch
from hypothesis import given, strategies as st

from misodice.modules import dice


def test_capped_exp_is_exp_below_and_its_tangent_above():
    x = torch.tensor([-5.0, 0.0, 19.0], dtype=torch.float64)
    assert torch.equal(dice.capped_exp(x), torch.exp(x))
    far = torch.tensor(1e4, requires_grad=True)
    value = dice.capped_exp(far)
    value.backward()
    assert math.isfinite(value.item())
    assert far.grad is not None
    assert far.grad.item() > 0


def test_weights_have_mean_one_and_are_finite_for_any_advantage():
    weight = dice.normalise_weights(torch.tensor([-1e4, 0.0, 1e4, 1e4]), max_weight=100.0)
    assert torch.isfinite(weight).all()
    assert math.isclose(weight.mean().item(), 1.0, rel_tol=1e-6)


def test_last_transitions_do_not_see_their_successor():
    one, zero = torch.ones(1), torch.zeros(1)
    assert dice.advantage(zero, zero, one * 7, one, 0.99).item() == 0.0
    assert math.isclose(dice.advantage(zero, zero, one * 7, zero, 0.99).item(), 6.93, rel_tol=1e-5)


def test_mixed_probability_is_the_weighted_mean_of_probabilities():
    logits, eta = torch.randn(8, 3, dtype=torch.float64), torch.softmax(torch.randn(8, 3, dtype=torch.float64), -1)
    expected = (eta * torch.sigmoid(logits)).sum(-1)
    assert torch.allclose(torch.sigmoid(dice.mix_probabilities(logits, eta.log())), expected)


def test_objectives_agree_after_the_best_shift():
    torch.manual_seed(0)
    advantage, alpha, gamma = torch.randn(1000, dtype=torch.float64), 0.5, 0.9
    # A constant shift c of ν changes A by −(1 − γ)c everywhere where nothing is masked.
    initial = torch.zeros(1, dtype=torch.float64)
    shifts = torch.linspace(-200, 200, 40001, dtype=torch.float64)
    losses = [dice.value_loss_exp(initial + c, advantage - (1 - gamma) * c, alpha, gamma).item() for c in shifts[::20]]
    assert math.isclose(min(losses), dice.value_loss_logsumexp(initial, advantage, alpha, gamma).item(), abs_tol=1e-3)


@given(
    episodes=st.lists(st.lists(st.floats(1e-5, 100), min_size=1, max_size=6), min_size=1, max_size=6),
    other=st.floats(0.1, 10.0),
)
def test_an_episode_s_steps_are_weighed_alike_by_the_square_of_their_geometric_mean(episodes, other):
    weight = torch.tensor([w for episode in episodes for w in episode], dtype=torch.float64)
    # A second agent's, to the power of its own: its means are its own.
    weight = torch.stack([weight, weight**0.5 * other], dim=-1)
    length = torch.tensor([len(episode) for episode in episodes])
    weighed = dice.weigh_by_episode(weight, length)
    expected = torch.cat([(w.prod(dim=0) ** (2 / len(w))).expand_as(w) for w in weight.split(length.tolist())])
    assert torch.allclose(weighed, expected / expected.mean(dim=0), rtol=1e-9)
    assert torch.allclose(dice.weigh_by_episode(weight[:, 0], length), weighed[:, 0])


def test_a_step_unlike_all_others_does_not_decide_on_its_episode():
    weight, length = torch.tensor([2.0, 2.0, 0.0, 1.0, 1.0]), torch.tensor([3, 2])
    *same, other, _ = dice.weigh_by_episode(weight, length).tolist()
    assert len(set(same)) == 1
    assert math.isclose(same[0] / other, (2 * 2 * 1e-6) ** (2 / 3), rel_tol=1e-5)


def test_the_greatest_weights_are_kept_and_each_agent_s_mean_stays_one():
    weight = torch.tensor([[0.5, 1.0], [0.25, 2.0], [3.0, 0.5], [0.25, 0.5]])
    expected = torch.tensor([[0.0, 4 / 3], [0.0, 8 / 3], [4.0, 0.0], [0.0, 0.0]])
    assert torch.allclose(dice.top_p_weights(weight, 0.75), expected)
    assert torch.allclose(dice.top_p_weights(weight, 0.8)[:, 0], torch.tensor([4 / 7, 0.0, 24 / 7, 0.0]))


@given(
    weight=st.lists(st.floats(0, 100, width=32), min_size=1, max_size=50).filter(any),
    top_p=st.floats(0.01, 1.0),
)
def test_what_is_kept_carries_its_share_and_nothing_greater_is_left_out(weight, top_p):
    weight = torch.tensor(weight, dtype=torch.float64)
    kept = dice.top_p_weights(weight, top_p) > 0
    assert weight[kept].sum() >= top_p * weight.sum() * (1 - 1e-12)
    assert not kept.all() or weight.min() > 0
    assert kept.all() or weight[~kept].max() < weight[kept].min()
    # Without the least of them it would be less.
    assert weight[kept & (weight > weight[kept].min())].sum() < top_p * weight.sum()


def test_equal_weights_are_kept_together():
    expert = torch.arange(100) < 13
    for beta in (0.0, 1.0):
        weight = dice.bc_weights(expert, beta)
        assert torch.allclose(dice.top_p_weights(weight, 0.5), weight)
