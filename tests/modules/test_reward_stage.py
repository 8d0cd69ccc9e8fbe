"""O-MAPL and the reward model: their losses against what can be computed by hand."""

import copy
import math

import pytest
import torch

from misodice.datamodules.batches import PairBatch, Spec, Transition
from misodice.modules import OMAPL, HyperMixer, LinearMixer, QMIXMixer, RewardModel, VDNMixer, dice
from misodice.modules.omapl import _slope

SPEC = Spec(3, 4, 5, 2, True, [0.0] * 4, [1.0] * 4, [0.0] * 5, [1.0] * 5)


def transitions(steps: int) -> Transition:
    torch.manual_seed(0)
    return Transition(
        obs=torch.randn(steps, 3, 4),
        state=torch.randn(steps, 5),
        actions=torch.randint(2, (steps, 3)),
        next_obs=torch.randn(steps, 3, 4),
        next_state=torch.randn(steps, 5),
        terminated=(torch.arange(steps) % 4 == 3).float(),
    )


def built(module):
    """The module with weights as of some training: rewards begin at 0, where much of the below would hold of itself."""
    torch.manual_seed(1)
    module._build(SPEC)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("module", [OMAPL(), RewardModel()])
def test_rewards_begin_at_zero_and_the_loss_at_that_of_a_coin(module):
    torch.manual_seed(1)
    module._build(SPEC)
    step = transitions(8)
    reward = module.reward(step)
    assert not reward.any()
    batch = PairBatch(step, torch.arange(8) // 4, torch.full((8,), 250.0), torch.ones(1))
    _, cross_entropy = module.preference_loss(batch, reward)
    assert cross_entropy.item() == pytest.approx(math.log(2.0))


def test_margin_is_the_difference_of_sums():
    module = built(RewardModel())
    side = torch.tensor([0, 0, 1, 2, 3, 3, 3])
    weight = torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 3.0])
    reward = torch.tensor([1.0, 2.0, 5.0, 7.0, 1.0, 1.0, 1.0])
    batch = PairBatch(transitions(7), side, weight, torch.tensor([1.0, 0.0]))
    assert module.margin(batch, reward).tolist() == [1 + 2 - 2 * 5, 7 - (1 + 1 + 3)]
    loss, cross_entropy = module.preference_loss(batch, reward)
    expected = (math.log1p(math.exp(7.0)) + math.log1p(math.exp(2.0))) / 2
    assert float(cross_entropy) == pytest.approx(expected, rel=1e-5)
    assert float(loss - cross_entropy) == pytest.approx(0.5 * float(reward.square().mean()), rel=1e-5)


def test_preference_loss_stays_finite():
    margin = torch.tensor([-1e4, 1e4, 0.0], requires_grad=True)
    loss = dice.preference_loss(margin, torch.tensor([1.0, 0.0, 1.0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(margin.grad).all()


@pytest.mark.parametrize("beta", [0.5, 2.0, 10.0])
def test_extreme_v_regression_finds_the_soft_maximum(beta):
    """argmin_v E[e^z − z − 1], z = (q − v)/β, is β·log E[e^{q/β}]."""
    torch.manual_seed(0)
    q = torch.randn(2000, dtype=torch.float64)
    v = torch.zeros((), dtype=torch.float64, requires_grad=True)
    exact = {"max_iter": 200, "tolerance_grad": 1e-14, "tolerance_change": 0.0}
    optimizer = torch.optim.LBFGS([v], line_search_fn="strong_wolfe", **exact)

    def closure():
        optimizer.zero_grad()
        loss = dice.extreme_value_loss((q - v) / beta)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert v.item() == pytest.approx(float(beta * (torch.logsumexp(q / beta, 0) - math.log(len(q)))), abs=1e-5)


def test_extreme_value_loss_has_a_gradient_beyond_its_clip():
    z = torch.tensor([-1e4, -20.0, 0.0, 20.0, 1e4], requires_grad=True)
    dice.extreme_value_loss(z).backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad.sign() == torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0])).all()


@pytest.mark.parametrize("mixer_class", [VDNMixer, LinearMixer, HyperMixer, QMIXMixer])
def test_slope_is_the_mixers_gradient_even_in_inference_mode(mixer_class):
    torch.manual_seed(0)
    mixer = mixer_class(3, 5).double()
    values, state = torch.randn(6, 3).double(), torch.randn(6, 5).double()
    step = 1e-6 * torch.eye(3).double()
    with torch.no_grad():
        finite = torch.stack([(mixer(values + e, state) - mixer(values - e, state)) / 2e-6 for e in step], dim=1)
    with torch.inference_mode():
        inside = _slope(mixer, values.clone(), state.clone())
    assert torch.allclose(inside, finite, atol=1e-6)


def test_reward_is_q_minus_discounted_slow_v_and_nothing_follows_the_end():
    module = built(OMAPL(gamma=0.9))
    step = transitions(8)
    with torch.no_grad():
        reward = module.reward(step)
        q = module.mixer(module.q(module._acted(step.obs, step)).squeeze(-1), step.state)
        following = module.target[2](module.target[1](step.next_obs).squeeze(-1), step.next_state)
    ends = step.terminated.bool()
    assert torch.allclose(reward[ends], q[ends], atol=1e-6)
    assert torch.allclose(reward[~ends], (q - 0.9 * following)[~ends], atol=1e-6)


def test_preference_loss_moves_q_and_extreme_v_moves_v():
    module = built(OMAPL())
    step = transitions(8)
    batch = PairBatch(step, torch.arange(8) // 4, torch.ones(8), torch.ones(1))

    def moved(loss):
        module.zero_grad()
        loss.backward()
        return {name.split(".")[0] for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}

    assert moved(module.preference_loss(batch, module.reward(step))[0]) == {"q", "mixer"}
    assert moved(dice.extreme_value_loss(module.local_advantage(step))) == {"v"}


def test_slow_copies_follow_by_tau():
    module = built(OMAPL(tau=0.25))
    before = copy.deepcopy(module.target[0].state_dict())
    module.q.load_state_dict(before)
    with torch.no_grad():
        for parameter in module.q.parameters():
            parameter.add_(1.0)
    module.on_train_batch_end(None, None, 0)
    for name, value in module.target[0].state_dict().items():
        assert torch.allclose(value, before[name] + 0.25, atol=1e-6)
