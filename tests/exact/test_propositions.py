"""Propositions 5.1 to 5.5 as numbers, on the shipped functions, mixers and stages."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.modules import QMIXMixer, VDNMixer, dice
from tests.helpers.fit_exactly import fit_policy, fit_value
from tests.helpers.problem import random_problem

SEEDS = st.integers(0, 2**31 - 1)
ALPHA = st.sampled_from([0.0, 0.05, 0.5, 1.0, 10.0])
OBJECTIVES = (dice.value_loss_exp, dice.value_loss_logsumexp)
N_STATES, N_AGENTS, GAMMA = 6, 3, 0.9


def objective(loss, phi, phi_0, nu, alpha, data):
    """L(φ, ν) of Eq. 6 with ν_tot = Σ φ_i ν_i + φ_0 on given transitions; nu [S, n]."""
    log_ratio, here, following, last, first = data
    total = nu @ phi + phi_0
    advantage = dice.advantage(log_ratio, total[here], total[following], last, GAMMA)
    return loss(total[first], advantage, alpha, GAMMA)


def draw(seed):
    torch.manual_seed(seed)
    data = (
        torch.randn(40, dtype=torch.float64),
        torch.randint(N_STATES, (40,)),
        torch.randint(N_STATES, (40,)),
        (torch.rand(40) < 0.2).double(),
        torch.randint(N_STATES, (10,)),
    )
    phis = torch.rand(2, N_AGENTS, dtype=torch.float64) * 2
    offsets = torch.randn(2, dtype=torch.float64)
    nus = 2 * torch.randn(2, N_STATES, N_AGENTS, dtype=torch.float64)
    return data, phis, offsets, nus


def assert_convex(f, a, b, t):
    middle, ends = f(a * t + b * (1 - t)), t * f(a) + (1 - t) * f(b)
    assert middle <= ends + 1e-9 * (1 + abs(ends))


@pytest.mark.parametrize("loss", OBJECTIVES)
@settings(max_examples=150)
@given(seed=SEEDS, t=st.floats(0.01, 0.99), alpha=ALPHA)
def test_5_1_convex_in_nu_and_convex_in_phi(loss, seed, t, alpha):
    data, phis, offsets, nus = draw(seed)
    assert_convex(lambda nu: objective(loss, phis[0], offsets[0], nu, alpha, data), nus[0], nus[1], t)
    both = torch.cat([phis, offsets[:, None]], dim=1)
    assert_convex(lambda p: objective(loss, p[:-1], p[-1], nus[0], alpha, data), both[0], both[1], t)


def test_5_1_does_not_hold_jointly():
    """The paper says convex in (φ, ν); with φ_i ν_i in it, it is convex in each alone: one state, one agent."""
    data = (torch.zeros(1).double(), torch.tensor([0]), torch.tensor([0]), torch.ones(1).double(), torch.tensor([0]))

    def at(phi: float, nu: float) -> float:
        phi_, nu_ = torch.tensor([phi]).double(), torch.tensor([[nu]]).double()
        return float(objective(dice.value_loss_exp, phi_, torch.zeros(()).double(), nu_, 0.0, data))

    # Both ends have ν_tot = 0, and the middle of them −1: it would have to be no worse than they are.
    ends, middle = (at(0.0, -2.0) + at(2.0, 0.0)) / 2, at(1.0, -1.0)
    print(f"L at the ends {ends:.3f}, in the middle {middle:.3f}")
    assert middle > ends + 0.1


def test_5_2_a_two_layer_mixer_breaks_convexity_in_nu():
    torch.manual_seed(0)
    mixer = QMIXMixer(N_AGENTS, 4).double()
    state = torch.zeros(N_STATES, 4, dtype=torch.float64)
    worst = 0.0
    for seed in range(200):
        data, _, _, nus = draw(seed)

        def value(nu, data=data):
            log_ratio, here, following, last, first = data
            total = mixer(nu, state)
            advantage = dice.advantage(log_ratio, total[here], total[following], last, GAMMA)
            return dice.value_loss_exp(total[first], advantage, 0.5, GAMMA).item()

        a, b = 3 * nus[0], 3 * nus[1]
        ends = (value(a) + value(b)) / 2
        worst = max(worst, (value((a + b) / 2) - ends) / (1 + abs(ends)))
    print(f"greatest breach of convexity {worst:.3f}")
    assert worst > 0.01


@settings(max_examples=150)
@given(seed=SEEDS, t=st.floats(0.01, 0.99))
def test_5_3_concave_in_local_probabilities_in_eta_and_in_logits(seed, t):
    torch.manual_seed(seed)
    eta = torch.softmax(torch.randn(2, N_AGENTS, dtype=torch.float64), -1)
    c = torch.rand(2, 2, 20, N_AGENTS, dtype=torch.float64).clamp(0.01, 0.99)

    # The first half of the rows is of D_E, the other of D_U.
    expert, union = (2.0 * torch.eye(2, dtype=torch.float64)).repeat_interleave(20, dim=1)

    def loss(logit):  # −J
        return dice.discriminator_loss(logit.flatten(), expert, union)

    def by_probability(c, eta):
        return loss(dice.mix_probabilities(torch.logit(c), eta.log().expand_as(c)))

    assert_convex(lambda x: by_probability(x, eta[0]), c[0], c[1], t)
    assert_convex(lambda e: by_probability(c[0], e), eta[0], eta[1], t)
    # The default mixes logits: z = Σ φ_i z_i + φ_0 is concave in z and in φ.
    z = 3 * torch.randn(2, 2, 20, N_AGENTS, dtype=torch.float64)
    assert_convex(lambda x: loss(x @ eta[0]), z[0], z[1], t)
    assert_convex(lambda phi: loss(z[0] @ phi), eta[0], eta[1], t)


@settings(max_examples=40)
@given(seed=SEEDS, n_agents=st.integers(1, 3))
def test_5_4_local_optima_are_the_global_one(seed, n_agents):
    """No factorised joint policy has a greater Σ w log π than the product of the local optima."""
    rng = np.random.default_rng(seed)
    joint = np.array(list(product(range(3), repeat=n_agents)))
    weight = rng.dirichlet(np.ones(len(joint)))  # w ρ_U of one state's joint actions
    best = [np.array([weight[joint[:, i] == a].sum() for a in range(3)]) for i in range(n_agents)]

    def likelihood(locals_):
        chosen = np.stack([np.log(locals_[i][joint[:, i]]) for i in range(n_agents)], axis=1)
        step = torch.from_numpy(chosen)
        return -n_agents * len(joint) * dice.weighted_bc_loss(step, torch.from_numpy(weight)).item()

    for _ in range(20):
        other = [rng.dirichlet(np.ones(3) * 3) for _ in range(n_agents)]
        assert likelihood(other) <= likelihood(best) + 1e-9
        near = [0.99 * b + 0.01 * o for b, o in zip(best, other, strict=True)]
        assert likelihood(near) <= likelihood(best) + 1e-9


@pytest.mark.parametrize(("seed", "alpha", "ending"), [(10, 0.05, False), (11, 1.0, True), (12, 0.0, False)])
def test_5_5_local_policy_is_a_softmax_of_local_q(seed, alpha, ending):
    """π_i ∝ μ_i^U exp(q_i/(1 + α)), with q_tot = r + γ ν(s′) split into its parts, against the trained policy."""
    gamma = 0.9
    problem = random_problem(seed, ending=ending)
    rho, _ = problem.solve(alpha, gamma)
    log_weight, _ = fit_value(
        problem, torch.from_numpy(problem.log_ratio), mixer=VDNMixer, alpha=alpha, gamma=gamma, mask_last=ending
    )
    n_states, n_joint = problem.successor.shape
    # (1 + α)(log w + 1) = q(s, a) − ν(s), and ν(s) is the same for all actions.
    q = (1 + alpha) * (log_weight.reshape(n_states, n_joint) + 1)
    union = problem.union.reshape(n_states, n_joint)
    expected = np.ones((n_states, n_joint))
    for agent in range(problem.n_agents):
        chosen = [problem.joint[:, agent] == a for a in range(2)]
        local_q = np.stack([q[:, mask].mean(axis=1) for mask in chosen], axis=1)
        behaviour = np.stack([union[:, mask].sum(axis=1) for mask in chosen], axis=1) / union.sum(axis=1, keepdims=True)
        local = behaviour * np.exp(local_q / (1 + alpha))
        expected *= (local / local.sum(axis=1, keepdims=True))[:, problem.joint[:, agent]]
    # Where the optimum never goes, its weights are nothing and the policy is free.
    visited = rho.reshape(n_states, n_joint).sum(axis=1) > 1e-4
    gap = np.abs(fit_policy(problem, np.exp(log_weight)) - expected)[visited].max()
    print(f"greatest gap {gap:.4f}; ρ* has mass {rho.sum():.3f}")
    assert gap < 1e-3
