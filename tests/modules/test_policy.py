"""The policy stage: its weightings, its heads, how it acts, and its learning rate."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from lightning import Callback

from misodice.datamodules.experts import Experts
from misodice.datamodules.inputs import Inputs
from misodice.modules import AgentMLP, ByEpisode, CategoricalHead, GaussianHead, Policy, TopP, Weighting, dice
from tests.helpers.small import table_of, train

LENGTHS = [4, 1, 5]
TABLE, CONTINUOUS = table_of(LENGTHS), table_of(LENGTHS, discrete=False)
WEIGHT = torch.tensor([3.0, 2.0, 0.5, 0.5, 1.0, 1.0, 0.2, 0.8, 0.4, 0.6])
SMALL = partial(AgentMLP, hidden=(8,))


class OfExperts(Weighting):
    """D_E alone, all alike."""

    needs_experts = True

    def __call__(self, weight, length, expert):
        assert expert.dtype == torch.bool
        return expert / expert.float().mean()


class Add(Weighting):
    """Not of mean 1; order matters beside a product."""

    def __init__(self, what: float) -> None:
        self.what = what

    def __call__(self, weight, length, expert):
        assert expert is None
        return weight + self.what


class Times(Add):
    def __call__(self, weight, length, expert):
        return weight * self.what


def inputs(experts: Experts | None = None, column: str = "weight") -> Inputs:
    return Inputs(TABLE, {column: WEIGHT}, experts, None, 4, 0)


def weights(policy: Policy, given: Inputs) -> torch.Tensor:
    """What the policy weighs by: draws times what is left of each weight."""
    data = policy.datamodule(given)
    return data.drawn * data.left


def test_weightings_are_applied_in_order():
    assert torch.allclose(weights(Policy(weighting=[Add(1.0), Times(3.0)]), inputs()), (WEIGHT + 1) * 3)
    assert torch.allclose(weights(Policy(weighting=[Times(3.0), Add(1.0)]), inputs()), WEIGHT * 3 + 1)
    expected = dice.top_p_weights(dice.weigh_by_episode(WEIGHT, torch.tensor(LENGTHS)), 0.5)
    assert torch.allclose(weights(Policy(weighting=[ByEpisode(), TopP(0.5)]), inputs()), expected, atol=1e-6)
    assert torch.allclose(weights(Policy(), inputs()), WEIGHT)


def test_another_column_may_weigh():
    policy = Policy(weight="local_weight")
    assert policy.reads == ("local_weight",)
    assert torch.allclose(weights(policy, inputs(column="local_weight")), WEIGHT)


def test_a_weighting_may_ask_for_the_experts():
    assert not Policy(weighting=[ByEpisode()]).needs_experts
    policy = Policy(weighting=[ByEpisode(), OfExperts()])
    assert policy.needs_experts
    experts = Experts(np.array([False, True, True]), np.zeros(3, bool))
    assert torch.allclose(weights(policy, inputs(experts)), torch.tensor([0.0] * 4 + [10 / 6] * 6))


@pytest.mark.parametrize(
    ("head", "table", "expected"),
    [
        (None, TABLE, CategoricalHead),
        (None, CONTINUOUS, GaussianHead),
        (partial(GaussianHead, kind="tanh_normal", min_std=0.1), CONTINUOUS, GaussianHead),
    ],
)
def test_heads_by_class(head, table, expected):
    policy = Policy(head=head, network=SMALL)
    policy._build(table.spec)
    assert type(policy.head) is expected
    assert policy(torch.zeros(2, 3, 4)).shape == (2, 3, policy.head.outputs)
    if head is not None:
        assert (policy.head.kind, policy.head.min_log_std) == ("tanh_normal", math.log(0.1))


def test_actions_are_greedy_and_in_the_environment_s_scale():
    torch.manual_seed(0)
    obs = torch.randn(20, 3, 4)
    policy = Policy(network=SMALL)
    policy._build(CONTINUOUS.spec)
    assert CONTINUOUS.spec.action_scale == 4.0
    assert torch.equal(policy.act(obs, None), 4.0 * policy.head.greedy(policy(obs), None))
    discrete = Policy(network=SMALL)
    discrete._build(TABLE.spec)
    available = torch.zeros(20, 3, 5, dtype=torch.bool)
    available[..., 2] = True
    action = discrete.act(obs, available)
    assert action.dtype == torch.int64
    assert (action == 2).all()


class LearningRates(Callback):
    """Of each step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.found.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_learning_rate_falls_to_zero_along_half_a_cosine(schedule):
    policy = Policy(network=SMALL, lr=0.01, lr_schedule=schedule)
    assert policy.any_length == (schedule == "constant")
    rates = LearningRates()
    train(policy, policy.datamodule(inputs()), rates, epochs=2)  # of 3 steps each
    if schedule == "constant":
        assert rates.found == [0.01] * 6
    else:
        expected = [0.01 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
        assert rates.found == pytest.approx(expected)
