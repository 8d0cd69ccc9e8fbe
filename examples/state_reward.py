"""A reward stage of one's own: the reward depends on the state that follows, and on nothing else.

misodice fit --config configs/smacv2_zerg.yaml --preference examples.state_reward.StateReward
"""

from typing import Any

from torch import Tensor, nn

from misodice import RewardStage
from misodice.datamodules.batches import Spec, Transition
from misodice.modules.networks import start_at_zero


class StateReward(RewardStage):
    """r(s′) of a perceptron. The loss on pairs, the held-out pairs and the options of both are RewardStage's.

    Args:
        hidden: width of the hidden layer.
        options: those of `RewardStage`.
    """

    def __init__(self, hidden: int = 64, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = hidden

    def build(self, spec: Spec) -> None:
        last = start_at_zero(nn.Linear(self.hidden, 1))  # the sum of many random rewards would be a bad start
        self.network = nn.Sequential(nn.Linear(spec.state_dim, self.hidden), nn.ReLU(), last)

    def reward(self, transition: Transition) -> Tensor:
        reward: Tensor = self.network(self.standardise_state(transition.next_state)).squeeze(-1)
        return reward
