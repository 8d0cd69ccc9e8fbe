"""Action heads: what a policy's network output means as a distribution over actions."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softmax, softplus

from misodice.errors import MisodiceError
from misodice.runs.limits import limited, number, one_of


class ActionHead(nn.Module):
    """Base class of action heads, made with the number of actions A, or of action entries where they are continuous.

    Shapes are of a team, [B, n, ·]. An exported policy asks for one agent, [B, ·]: work on the last dimension alone.

    Args:
        n_actions: A.
    """

    outputs: int
    """Entries of the network's output for one agent."""
    parameters_names: ClassVar[tuple[str, ...]] = ()
    """Names of what `parameters_of` returns: they are outputs of an exported policy."""

    def __init__(self, n_actions: int) -> None:
        super().__init__()
        self.outputs = n_actions

    def log_prob(self, output: Tensor, actions: Tensor, available_actions: Tensor | None) -> Tensor:
        """log π_i(a_i|o_i), [B, n].

        Args:
            output: of the network, [B, n, outputs].
            actions: int64 [B, n] or float [B, n, A].
            available_actions: bool [B, n, A]; None where actions are continuous.
        """
        raise MisodiceError(f"{type(self).__name__} has no log_prob(output, actions, available_actions)")

    def greedy(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        """The action that is taken in rollouts, int64 [B, n] or float [B, n, A] within [−1, 1]."""
        raise MisodiceError(f"{type(self).__name__} has no greedy(output, available_actions)")

    def parameters_of(self, output: Tensor, available_actions: Tensor | None) -> tuple[Tensor, ...]:
        """The distribution's parameters in the order of `parameters_names`, [B, n, ·] each."""
        return ()


class CategoricalHead(ActionHead):
    """Softmax over the available actions (paper B.4)."""

    parameters_names = ("probabilities",)

    def logits(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        """Logits [B, n, A], those of unavailable actions as small as floats can be."""
        if available_actions is None:
            return output
        return output.masked_fill(~available_actions, torch.finfo(output.dtype).min)

    def log_prob(self, output: Tensor, actions: Tensor, available_actions: Tensor | None) -> Tensor:
        log_probs = log_softmax(self.logits(output, available_actions), dim=-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def parameters_of(self, output: Tensor, available_actions: Tensor | None) -> tuple[Tensor, ...]:
        """π_i(·|o_i), [B, n, A]: 0 for what is not available."""
        return (softmax(self.logits(output, available_actions), dim=-1),)

    def greedy(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        """Most probable available action, int64 [B, n]."""
        return self.logits(output, available_actions).argmax(dim=-1)


class GaussianHead(ActionHead):
    """Independent normals over action entries in [−1, 1] (paper B.4), or their tanh.

    Args:
        kind: "normal", or "tanh_normal" whose support is the interval itself.
        min_std: least standard deviation of the normal (before its tanh). The loss divides by the square of the
            deviation that the policy chose for a state. With a low bound an easy state therefore counts thousands of
            times as much as a hard one.
    """

    MAX_LOG_STD = 2.0
    parameters_names = ("mean", "standard_deviation")

    @limited(
        "policy.head",
        kind=one_of("normal", "tanh_normal"),
        # e**2: `MAX_LOG_STD` is the greatest deviation.
        min_std=number("a number greater than 0 and less than 7.38", 0.0, 7.38, without=[0.0]),
    )
    def __init__(
        self, n_actions: int, kind: Literal["normal", "tanh_normal"] = "normal", min_std: float = 0.0067
    ) -> None:
        super().__init__(n_actions)
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

    def parameters_of(self, output: Tensor, available_actions: Tensor | None) -> tuple[Tensor, ...]:
        """Mean and standard deviation of the normal (before its tanh), [B, n, A] each."""
        mean, log_std = self.moments(output)
        return mean, log_std.exp()

    def moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation, [B, n, A] each, of the normal (before its tanh)."""
        mean, log_std = output.chunk(2, dim=-1)
        return mean, log_std.clamp(self.min_log_std, self.MAX_LOG_STD)


def _normal_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    return -0.5 * ((x - mean) * torch.exp(-log_std)) ** 2 - log_std - 0.5 * math.log(2.0 * math.pi)
