"""What every agent carries: standardised inputs, one shared multilayer perceptron, and the action heads."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot, softmax, softplus

# Below this deviation an entry is constant in D_U; dividing by less would blow up rounding noise at rollout.
MIN_STD = 1e-3


class Standardise(nn.Module):
    """(x − mean)/std with D_U's statistics, which are buffers and so travel in the checkpoint. Shapes: [..., D]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std).clamp(min=MIN_STD))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).clamp(-10.0, 10.0)


def start_at_zero(layer: nn.Linear) -> nn.Linear:
    """The layer, whose output is 0 until it has learnt something."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class AgentMLP(nn.Module):
    """One perceptron shared by all agents, on [o_i, extra_i, one-hot id]: [B, n, O] (+ [B, n, X]) -> [B, n, out].

    With `agent`, int64 [B], each row is of one agent alone: [B, O] -> [B, out].

    Args:
        n_agents: number of agents n.
        inputs: entries of one agent's input, without the id.
        outputs: entries of one agent's output.
        hidden: widths of the hidden layers (paper Table 3: 256, 256).
    """

    def __init__(self, n_agents: int, inputs: int, outputs: int, hidden: tuple[int, ...] = (256, 256)) -> None:
        super().__init__()
        self.inputs = nn.Linear(inputs, hidden[0])
        # The identity's part of the first layer: a one-hot id times a weight is a row of a table.
        self.agent = nn.Parameter(torch.empty(n_agents, hidden[0]).uniform_(-1, 1) / math.sqrt(inputs + n_agents))
        layers: list[nn.Module] = [nn.ReLU()]
        for width, following in pairwise(hidden):
            layers += [nn.Linear(width, following), nn.ReLU()]
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


class CategoricalHead(nn.Module):
    """Softmax over the available actions (paper B.4): logits [B, n, A]."""

    def __init__(self, n_actions: int) -> None:
        super().__init__()
        self.outputs = n_actions

    def logits(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        if available_actions is None:
            return output
        return output.masked_fill(~available_actions, torch.finfo(output.dtype).min)

    def log_prob(self, output: Tensor, actions: Tensor, available_actions: Tensor | None) -> Tensor:
        """log π_i(a_i|o_i), [B, n]."""
        log_probs = log_softmax(self.logits(output, available_actions), dim=-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def probabilities(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        """π_i(·|o_i), [B, n, A]: 0 for what is not available."""
        return softmax(self.logits(output, available_actions), dim=-1)

    def greedy(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        """Most probable available action, int64 [B, n]."""
        return self.logits(output, available_actions).argmax(dim=-1)


class GaussianHead(nn.Module):
    """Independent normals over action entries in [−1, 1] (paper B.4), or their tanh.

    Args:
        n_actions: action entries A of one agent.
        kind: "normal", or "tanh_normal" whose support is the interval itself.
        min_std: least standard deviation of the normal (before its tanh).
    """

    MAX_LOG_STD = 2.0

    def __init__(
        self, n_actions: int, kind: Literal["normal", "tanh_normal"] = "normal", min_std: float = 0.0067
    ) -> None:
        super().__init__()
        self.outputs = 2 * n_actions
        self.kind = kind
        self.min_log_std = math.log(min_std)

    def log_prob(self, output: Tensor, actions: Tensor, available_actions: Tensor | None) -> Tensor:
        """log π_i(a_i|o_i), summed over the action's entries, [B, n]."""
        mean, log_std = self.moments(output)
        if self.kind == "normal":
            return _normal_log_prob(actions, mean, log_std).sum(dim=-1)
        # Recorded actions may be clipped to ±1 exactly, where atanh is infinite.
        raw = torch.atanh(actions.clamp(-1 + 1e-4, 1 - 1e-4))
        log_slope = 2.0 * (math.log(2.0) - raw - softplus(-2.0 * raw))
        return (_normal_log_prob(raw, mean, log_std) - log_slope).sum(dim=-1)

    def greedy(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        """The distribution's centre, within [−1, 1], [B, n, A]."""
        mean, _ = self.moments(output)
        return torch.tanh(mean) if self.kind == "tanh_normal" else mean.clamp(-1.0, 1.0)

    def moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation, [B, n, A] each, of the normal (before its tanh)."""
        mean, log_std = output.chunk(2, dim=-1)
        return mean, log_std.clamp(self.min_log_std, self.MAX_LOG_STD)


def _normal_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    return -0.5 * ((x - mean) * torch.exp(-log_std)) ** 2 - log_std - 0.5 * math.log(2.0 * math.pi)
