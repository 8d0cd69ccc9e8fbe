"""A policy stage of one's own: weighted cloning with a bonus for entropy, so that it is less sure of its actions.

misodice fit --config configs/smacv2_zerg.yaml --policy examples.entropy_policy.EntropyPolicy --policy.bonus 0.05
"""

from typing import Any

from torch import Tensor

from misodice import MisodiceError, Policy
from misodice.datamodules.batches import PolicyBatch, Spec
from misodice.modules import dice


class EntropyPolicy(Policy):
    """Adds −bonus·H(π_i(·|o_i)) to the loss of each agent; for discrete actions.

    Args:
        bonus: factor of the entropy.
        options: those of `Policy`.
    """

    def __init__(self, bonus: float = 0.01, **options: Any) -> None:
        super().__init__(**options)
        self.bonus = bonus

    def build(self, spec: Spec) -> None:
        if not spec.discrete:
            raise MisodiceError("EntropyPolicy: the actions are continuous, expected discrete ones; use Policy")
        super().build(spec)

    def loss(self, batch: PolicyBatch) -> tuple[Tensor, dict[str, Tensor]]:
        output = self(batch.obs)
        log_prob = self.head.log_prob(output, batch.actions, batch.available_actions)
        (probabilities,) = self.head.parameters_of(output, batch.available_actions)
        # The gradient of the logarithm at 0, the probability of what is not available, would be infinite.
        entropy = -(probabilities * probabilities.clamp(min=1e-8).log()).sum(dim=-1).mean()
        loss = dice.weighted_bc_loss(log_prob, batch.weight) - self.bonus * entropy
        return loss, {"loss": loss, "entropy": entropy}
