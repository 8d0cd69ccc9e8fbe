"""Mixers M[·]: local values of n agents, and the state, to one global value (paper 5.2, B.3.5).

This is the extension point: subclass `Mixer`, write `forward`, and name the class in the config
(`--value.mixer my_package.MyMixer`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from misodice.errors import MisodiceError
from misodice.modules.networks import start_at_zero
from misodice.runs.limits import COUNT, limited


class Mixer(nn.Module):
    """Base class of all mixers.

    Args:
        n_agents: number of agents n.
        state_dim: entries S of the state.
    """

    def __init__(self, n_agents: int, state_dim: int) -> None:
        super().__init__()
        self.n_agents = n_agents
        self.state_dim = state_dim

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        """Mix local values [B, n] in state [B, S] into a global value [B].

        `IndependentMixer` alone returns [B, n]: whatever follows works column by column then.
        """
        raise MisodiceError(f"{type(self).__name__} has no forward(values, state); a mixer must have it")


class VDNMixer(Mixer):
    """Σ_i ν_i (VDN, Sunehag et al. 2018): the paper's MisoDICE-VDN."""

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        return values.sum(dim=-1)


class IndependentMixer(Mixer):
    """No mixing: one value, ratio and weight for each agent (the paper's INDD)."""

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        return values


class LinearMixer(Mixer):
    """Σ_i φ_i ν_i + φ_0 with constant φ_i ≥ 0 (paper 5.2).

    φ is kept non-negative by its absolute value, as in HyperMixer, and starts at 1 (the sum).
    """

    def __init__(self, n_agents: int, state_dim: int) -> None:
        super().__init__(n_agents, state_dim)
        self.phi = nn.Parameter(torch.ones(n_agents))
        self.phi_0 = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        return values @ self.phi.abs() + self.phi_0


class HyperMixer(Mixer):
    """Σ_i |w_i(s)| ν_i + b(s), with w and b of a hyper-network of the state (paper B.3.5): linear in ν.

    b starts at 0.

    Args:
        hidden: width of the hyper-network's hidden layers.
    """

    @limited(hidden=COUNT)
    def __init__(self, n_agents: int, state_dim: int, hidden: int = 64) -> None:
        super().__init__(n_agents, state_dim)
        self.weight = nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, n_agents))
        self.bias = nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), start_at_zero(nn.Linear(hidden, 1)))

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        mixed: Tensor = (self.weight(state).abs() * values).sum(dim=-1) + self.bias(state).squeeze(-1)
        return mixed


class QMIXMixer(Mixer):
    """Two layers, monotone and not linear in ν (QMIX, Rashid et al. 2018): for comparison with Proposition 5.2.

    The state's own part starts at 0.

    Args:
        hidden: width of the mixing layer and of the hyper-networks.
    """

    @limited(hidden=COUNT)
    def __init__(self, n_agents: int, state_dim: int, hidden: int = 64) -> None:
        super().__init__(n_agents, state_dim)
        self.hidden = hidden
        self.weight_1 = nn.Linear(state_dim, n_agents * hidden)
        self.bias_1 = nn.Linear(state_dim, hidden)
        self.weight_2 = nn.Linear(state_dim, hidden)
        self.bias_2 = nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), start_at_zero(nn.Linear(hidden, 1)))

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        first = self.weight_1(state).abs().view(-1, self.n_agents, self.hidden)
        hidden = nn.functional.elu(torch.einsum("bn,bnh->bh", values, first) + self.bias_1(state))
        mixed: Tensor = (hidden * self.weight_2(state).abs()).sum(dim=-1) + self.bias_2(state).squeeze(-1)
        return mixed
