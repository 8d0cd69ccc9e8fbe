"""A network of one's own: blocks with a layer norm and a shortcut in place of the plain perceptron.

misodice fit --config configs/smacv2_zerg.yaml --policy.network examples.residual_network.ResidualNetwork
"""

import torch
from torch import Tensor, nn

from misodice import Network


class ResidualNetwork(Network):
    """One network for all agents. An agent is told apart by a vector of its own, which is learnt.

    Args:
        width: entries of the hidden layers.
        blocks: how many blocks follow each other.
    """

    def __init__(self, n_agents: int, inputs: int, outputs: int, width: int = 128, blocks: int = 2) -> None:
        super().__init__(n_agents, inputs, outputs)
        self.inputs = nn.Linear(inputs, width)
        self.agent = nn.Parameter(torch.randn(n_agents, width) / width**0.5)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.output = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor, agent: Tensor | None = None) -> Tensor:
        # [B, n, inputs] of whole teams; or [B, inputs] of single agents, which `agent` [B] names.
        hidden: Tensor = self.inputs(inputs) + (self.agent if agent is None else self.agent[agent])
        for block in self.blocks:
            hidden = hidden + block(hidden)
        output: Tensor = self.output(hidden)
        return output
