"""One agent of a trained team as a module of its own, which is what is exported.

Inputs, by name, of B rows, each of any one agent: observation [B, O] float32 as the environment gives it, agent_id [B]
int64 and, with discrete actions, available_actions [B, A] bool. Outputs: the greedy action, and the distribution that
it is the centre of.
"""

from __future__ import annotations

from torch import Tensor, nn

from misodice.modules.networks import CategoricalHead, GaussianHead
from misodice.modules.policy import Policy


class DiscreteAgent(nn.Module):
    """Any one agent of a policy with discrete actions, normalisation included."""

    outputs = ("action", "probabilities")

    def __init__(self, policy: Policy, head: CategoricalHead) -> None:
        super().__init__()
        self.standardise, self.local, self.head = policy.standardise_obs, policy.local, head

    def forward(self, observation: Tensor, agent_id: Tensor, available_actions: Tensor) -> tuple[Tensor, ...]:
        """Greedy action int64 [B] and probabilities [B, A]."""
        return self.decide(self.local(self.standardise(observation), agent_id), available_actions)

    def decide(self, output: Tensor, available_actions: Tensor | None) -> tuple[Tensor, ...]:
        """The outputs, of the network's: [B, ·] or, of a whole team, [B, n, ·]."""
        return self.head.greedy(output, available_actions), self.head.probabilities(output, available_actions)


class ContinuousAgent(nn.Module):
    """Any one agent of a policy with continuous actions, normalisation included."""

    outputs = ("action", "mean", "standard_deviation")

    def __init__(self, policy: Policy, head: GaussianHead) -> None:
        super().__init__()
        self.standardise, self.local, self.head = policy.standardise_obs, policy.local, head
        assert policy.spec is not None
        self.action_scale = policy.spec.action_scale

    def forward(self, observation: Tensor, agent_id: Tensor) -> tuple[Tensor, ...]:
        """Greedy action as the environment takes it, and the normal's mean and standard deviation, [B, A] each.

        The last two are in the data's units: before `action_scale` and, of a tanh-normal, before its tanh.
        """
        return self.decide(self.local(self.standardise(observation), agent_id), None)

    def decide(self, output: Tensor, available_actions: Tensor | None) -> tuple[Tensor, ...]:
        """The outputs, of the network's: [B, ·] or, of a whole team, [B, n, ·]."""
        mean, log_std = self.head.moments(output)
        return self.action_scale * self.head.greedy(output, None), mean, log_std.exp()


Agent = DiscreteAgent | ContinuousAgent


def one_agent(policy: Policy) -> Agent:
    """Any one agent of `policy`; it shares the policy's parameters."""
    if isinstance(policy.head, CategoricalHead):
        return DiscreteAgent(policy, policy.head)
    return ContinuousAgent(policy, policy.head)
