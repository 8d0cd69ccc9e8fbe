"""Mixers: gradients, monotonicity, and what is the same as what."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.modules import HyperMixer, IndependentMixer, LinearMixer, QMIXMixer, VDNMixer

SHIPPED = [VDNMixer, LinearMixer, HyperMixer, QMIXMixer, IndependentMixer]


def made(mixer_class, n_agents, state_dim=5, seed=0):
    torch.manual_seed(seed)
    mixer = mixer_class(n_agents, state_dim).double()
    for parameter in mixer.parameters():  # also those that begin at 0 or 1
        torch.nn.init.normal_(parameter)
    return mixer


@pytest.mark.parametrize("mixer_class", SHIPPED)
@pytest.mark.parametrize("n_agents", [1, 3, 20])
def test_gradients(mixer_class, n_agents):
    mixer = made(mixer_class, n_agents)
    values = torch.randn(4, n_agents, dtype=torch.float64, requires_grad=True)
    state = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    mixed = mixer(values, state)
    assert mixed.shape == ((4, n_agents) if mixer_class is IndependentMixer else (4,))
    assert torch.autograd.gradcheck(mixer, (values, state))


@pytest.mark.parametrize("mixer_class", [LinearMixer, HyperMixer, QMIXMixer, VDNMixer])
@settings(max_examples=50)
@given(seed=st.integers(0, 9999), n_agents=st.integers(1, 6), step=st.floats(0.01, 10.0))
def test_a_greater_local_value_never_lowers_the_global_one(mixer_class, seed, n_agents, step):
    mixer = made(mixer_class, n_agents, seed=seed)
    values, state = torch.randn(8, n_agents).double(), torch.randn(8, 5).double()
    raised = values.clone()
    raised[:, seed % n_agents] += step
    assert (mixer(raised, state) >= mixer(values, state) - 1e-12).all()


def test_vdn_is_the_linear_mixer_at_one_and_zero():
    linear, vdn = LinearMixer(3, 5), VDNMixer(3, 5)
    values, state = torch.randn(8, 3), torch.randn(8, 5)
    with torch.no_grad():
        assert torch.allclose(linear(values, state), vdn(values, state))  # as it begins
        linear.phi.fill_(-1.0)  # φ counts by its absolute value
        assert torch.allclose(linear(values, state), vdn(values, state))


@pytest.mark.parametrize("mixer_class", [LinearMixer, HyperMixer])
def test_linear_in_the_local_values(mixer_class):
    mixer = made(mixer_class, 3)
    a, b, state = torch.randn(8, 3).double(), torch.randn(8, 3).double(), torch.randn(8, 5).double()
    middle = mixer(0.3 * a + 0.7 * b, state)
    assert torch.allclose(middle, 0.3 * mixer(a, state) + 0.7 * mixer(b, state))


def test_permutation_of_agents():
    """The sum does not know who is who; no mixing permutes; a weight goes with its agent."""
    order = torch.tensor([2, 0, 1])
    values, state = torch.randn(8, 3), torch.randn(8, 5)
    assert torch.allclose(VDNMixer(3, 5)(values[:, order], state), VDNMixer(3, 5)(values, state))
    independent = IndependentMixer(3, 5)
    assert torch.equal(independent(values[:, order], state), independent(values, state)[:, order])
    linear = made(LinearMixer, 3).float()
    before = linear(values, state)
    with torch.no_grad():
        linear.phi.copy_(linear.phi[order])
    assert torch.allclose(linear(values[:, order], state), before, atol=1e-6)
    hyper = made(HyperMixer, 3).float()
    before = hyper(values, state)
    with torch.no_grad():
        for parameter in (hyper.weight[-1].weight, hyper.weight[-1].bias):
            parameter.copy_(parameter[order])
    assert torch.allclose(hyper(values[:, order], state), before, atol=1e-4)
