"""An action head of one's own, for continuous actions: a Laplace distribution, which bears outliers better.

misodice fit --config configs/mamujoco_hopper.yaml --policy.head examples.laplace_head.LaplaceHead
"""

import math

from torch import Tensor

from misodice import ActionHead


class LaplaceHead(ActionHead):
    """Independent Laplace distributions over action entries in [−1, 1].

    Args:
        min_scale: least scale b of a distribution.
    """

    parameters_names = ("centre", "scale")

    def __init__(self, n_actions: int, min_scale: float = 0.05) -> None:
        super().__init__(n_actions)
        self.outputs = 2 * n_actions
        self.min_log_scale = math.log(min_scale)

    def log_prob(self, output: Tensor, actions: Tensor, available_actions: Tensor | None) -> Tensor:
        """log π_i(a_i|o_i) = Σ −|a − m|/b − log 2b over the action's entries, [B, n]."""
        centre, scale = self.parameters_of(output, available_actions)
        return (-(actions - centre).abs() / scale - (2 * scale).log()).sum(dim=-1)

    def greedy(self, output: Tensor, available_actions: Tensor | None) -> Tensor:
        return self.parameters_of(output, available_actions)[0].clamp(-1.0, 1.0)

    def parameters_of(self, output: Tensor, available_actions: Tensor | None) -> tuple[Tensor, ...]:
        centre, log_scale = output.chunk(2, dim=-1)
        return centre, log_scale.clamp(self.min_log_scale, 2.0).exp()
