"""One agent of a trained team as a module of its own, which is what is exported.

Inputs, by name, of B rows, each of any one agent: observation [B, O] float32 as the environment gives it, agent_id [B]
int64 and, with discrete actions, available_actions [B, A] bool. Outputs: the greedy action, and the parameters of the
distribution that it comes from, by the names that the action head gives them.
"""

from __future__ import annotations

from torch import Tensor, nn

from misodice.errors import MisodiceError
from misodice.modules.policy import Policy


class Agent(nn.Module):
    """Any one agent of a policy, normalisation included; it shares the policy's parameters.

    Args:
        policy: of the whole team.

    Raises:
        MisodiceError: two of the head's parameters have one name, or one has the name of the action.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.standardise, self.local, self.head = policy.standardise_obs, policy.local, policy.head
        assert policy.spec is not None
        self.discrete, self.action_scale = policy.spec.discrete, policy.spec.action_scale
        self.outputs = ("action", *policy.head.parameters_names)
        if len(set(self.outputs)) < len(self.outputs):
            raise MisodiceError(
                f"{type(self.head).__name__}: parameters_names is {policy.head.parameters_names}, expected different "
                "names, and none of them action; rename them"
            )

    def forward(
        self, observation: Tensor, agent_id: Tensor, available_actions: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Greedy action as the environment takes it, int64 [B] or float [B, A], and the head's parameters, [B, ·] each.

        Parameters are in the data's units: before `action_scale` and, of a tanh-normal, before its tanh.
        """
        output = self.local(self.standardise(observation), agent_id)
        action = self.head.greedy(output, available_actions)
        parameters = self.parameters_of(output, available_actions)
        return (action if self.discrete else self.action_scale * action, *parameters)

    def parameters_of(self, output: Tensor, available_actions: Tensor | None) -> tuple[Tensor, ...]:
        """The head's parameters for the network's output, [B, ·] or, of a whole team, [B, n, ·].

        Raises:
            MisodiceError: the head names fewer or more of them than it returns.
        """
        parameters = tuple(self.head.parameters_of(output, available_actions))
        names = self.outputs[1:]
        if len(parameters) != len(names):
            raise MisodiceError(
                f"{type(self.head).__name__}: parameters_of returns {len(parameters)} tensors, but parameters_names "
                f"has {len(names)} names; give each tensor a name"
            )
        return parameters
