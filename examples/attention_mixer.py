"""A mixer of one's own: agents weighted by attention to the state. Linear in the values, as Proposition 5.1 asks.

misodice fit --config configs/smacv2_zerg.yaml --value.mixer examples.attention_mixer.AttentionMixer
"""

import torch
from torch import Tensor, nn

from misodice import Mixer


class AttentionMixer(Mixer):
    """Σ_i n·softmax_i(q(s)·k_i)·ν_i + b(s).

    Args:
        hidden: width of query and keys.
    """

    def __init__(self, n_agents: int, state_dim: int, hidden: int = 32) -> None:
        super().__init__(n_agents, state_dim)
        self.query = nn.Linear(state_dim, hidden)
        self.keys = nn.Parameter(torch.randn(n_agents, hidden) / hidden**0.5)
        self.bias = nn.Linear(state_dim, 1)

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        attention = torch.softmax(self.query(state) @ self.keys.T, dim=-1) * self.n_agents
        mixed: Tensor = (attention * values).sum(dim=-1) + self.bias(state).squeeze(-1)
        return mixed
