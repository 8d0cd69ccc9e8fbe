"""What every agent carries: standardised inputs and one shared network."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from misodice.errors import MisodiceError
from misodice.runs.limits import WIDTHS, limited

# Below this deviation an entry is constant in D_U; dividing by less would blow up rounding noise at rollout.
MIN_STD = 1e-3
MAX_DEVIATIONS = 10.0


class Standardise(nn.Module):
    """(x − mean)/std with D_U's statistics, clipped to ±10. Shapes: [..., D].

    The statistics are buffers and so travel in the checkpoint. The clip keeps an entry that is far outside of D_U, or
    nearly constant in it, from drowning all others.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std).clamp(min=MIN_STD))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)


def start_at_zero(layer: nn.Linear) -> nn.Linear:
    """The layer, whose output is 0 until it has learnt something."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Network(nn.Module):
    """Base class of the network that all agents share; name yours as `network` of a stage.

    It is made with the number of agents n, the entries of one agent's input and those of its output. Recurrent networks
    do not fit: a stage draws single transitions, so a network has no earlier steps to remember.

    Args:
        n_agents: number of agents n.
        inputs: entries I of one agent's input, without the agent's identity.
        outputs: entries of one agent's output.
    """

    def __init__(self, n_agents: int, inputs: int, outputs: int) -> None:
        super().__init__()

    def forward(self, inputs: Tensor, agent: Tensor | None = None) -> Tensor:
        """Outputs [B, n, out] of inputs [B, n, I]; with `agent`, int64 [B], each row is of that agent alone:
        [B, I] -> [B, out]."""
        raise MisodiceError(f"{type(self).__name__} has no forward(inputs, agent); a network must have it")

    def start_at_zero(self) -> None:
        """Let the output be 0 until something is learnt. The last linear layer is the one that gives the output."""
        layers = [module for module in self.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise MisodiceError(
                f"{type(self).__name__}: has no linear layer that could start at 0; override start_at_zero()"
            )
        start_at_zero(layers[-1])


class AgentMLP(Network):
    """One perceptron shared by all agents, on [o_i, extra_i, one-hot id].

    Args:
        hidden: widths of the hidden layers (paper Table 3: 256, 256).
    """

    @limited(hidden=WIDTHS)
    def __init__(self, n_agents: int, inputs: int, outputs: int, hidden: tuple[int, ...] = (256, 256)) -> None:
        super().__init__(n_agents, inputs, outputs)
        self.inputs = nn.Linear(inputs, hidden[0])
        # The identity's part of the first layer: a one-hot id times a weight is a row of a table.
        self.agent = nn.Parameter(torch.empty(n_agents, hidden[0]).uniform_(-1, 1) / math.sqrt(inputs + n_agents))
        # In place: no gradient needs what a linear layer gives, and new memory costs more than the comparison.
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        for width, following in pairwise(hidden):
            layers += [nn.Linear(width, following), nn.ReLU(inplace=True)]
        self.rest = nn.Sequential(*layers)
        self.output = nn.Linear(hidden[-1], outputs)

    def forward(self, inputs: Tensor, agent: Tensor | None = None) -> Tensor:
        first = self.inputs(inputs)
        identity = self.agent if agent is None else self.agent[agent]
        hidden = self.rest(first + identity.to(first.dtype))
        # Under autocast the wide layers alone are of low precision: advantages are small differences of large values.
        with torch.autocast(hidden.device.type, enabled=False):
            output: Tensor = self.output(hidden.to(self.output.weight.dtype))
        return output


def encode_actions(actions: Tensor, n_actions: int) -> Tensor:
    """Actions as network input [B, n, A]: one-hot of int64 [B, n], or float [B, n, A] as it is."""
    if actions.dtype == torch.int64:
        return one_hot(actions, n_actions).float()
    return actions
