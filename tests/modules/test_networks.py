"""Standardised inputs, and the network that all agents share."""

import pytest
import torch
from torch import nn

from misodice.errors import MisodiceError
from misodice.modules import AgentMLP, Network
from misodice.modules.networks import Standardise, encode_actions


def test_inputs_are_standardised_and_clipped_at_ten_deviations():
    standardise = Standardise([1.0, 0.0], [2.0, 0.5])
    assert torch.allclose(standardise(torch.tensor([[3.0, -1.0]])), torch.tensor([[1.0, -2.0]]))
    assert standardise(torch.tensor([[1e6, -1e6]])).tolist() == [[10.0, -10.0]]
    inside = torch.tensor([[1.0 + 2 * 9.9, -0.5 * 9.9]])
    assert torch.allclose(standardise(inside), torch.tensor([[9.9, -9.9]]))


def test_an_entry_that_never_changed_is_not_blown_up():
    standardise = Standardise([4.0], [0.0])
    assert standardise(torch.tensor([4.0])).item() == 0.0
    assert standardise(torch.tensor([4.0005])).item() == pytest.approx(0.5, rel=1e-2)
    assert standardise(torch.tensor([5.0])).item() == 10.0


def test_statistics_travel_in_the_checkpoint():
    other = Standardise([0.0], [1.0])
    other.load_state_dict(Standardise([3.0], [2.0]).state_dict())
    assert other(torch.tensor([5.0])).item() == 1.0


@pytest.mark.parametrize("hidden", [(8,), (8, 6), (8, 6, 4)])
def test_one_agent_asked_alone_gives_its_row_of_the_team(hidden):
    network = AgentMLP(3, 5, 2, hidden)
    inputs = torch.randn(7, 3, 5)
    team = network(inputs)
    assert team.shape == (7, 3, 2)
    agent = torch.arange(3).repeat(7)
    assert torch.allclose(network(inputs.flatten(0, 1), agent), team.flatten(0, 1), atol=1e-6)
    assert not torch.allclose(network(inputs[:, 0], torch.full((7,), 1)), team[:, 0])  # they know who they are


def test_the_identity_is_a_one_hot_input():
    """The first layer's table is the weight of a one-hot id that is appended to the input."""
    network = AgentMLP(3, 5, 2, (8,))
    inputs = torch.randn(7, 3, 5)
    weight = torch.cat([network.inputs.weight, network.agent.T], dim=1)
    together = torch.cat([inputs, torch.eye(3).expand(7, 3, 3)], dim=-1)
    hidden = torch.relu(together @ weight.T + network.inputs.bias)
    assert torch.allclose(network(inputs), network.output(hidden), atol=1e-5)


def test_a_network_may_begin_at_zero():
    network = AgentMLP(2, 3, 4)
    network.start_at_zero()
    assert not network(torch.randn(5, 2, 3)).any()


def test_a_network_without_linear_layers_says_what_to_override():
    class Table(Network):
        pass

    with pytest.raises(MisodiceError, match=r"Table: .* override start_at_zero"):
        Table(2, 3, 4).start_at_zero()
    with pytest.raises(MisodiceError, match="Table has no forward"):
        Table(2, 3, 4)(torch.zeros(1, 2, 3))


def test_the_last_linear_layer_of_a_users_network_begins_at_zero():
    class Own(Network):
        def __init__(self, n_agents: int, inputs: int, outputs: int) -> None:
            super().__init__(n_agents, inputs, outputs)
            self.layers = nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs))

        def forward(self, inputs, agent=None):
            return self.layers(inputs)

    network = Own(2, 3, 4)
    assert network(torch.randn(5, 2, 3)).any()
    network.start_at_zero()
    assert not network(torch.randn(5, 2, 3)).any()
    assert network.layers[0].weight.any()


def test_actions_as_inputs():
    assert encode_actions(torch.tensor([[0, 2]]), 3).tolist() == [[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]
    continuous = torch.rand(4, 2, 3)
    assert encode_actions(continuous, 3) is continuous
