"""A weighting of one's own: no transition weighs more than a given number of average ones.

misodice fit --config configs/smacv2_zerg.yaml --policy.weighting '[{class_path: examples.clip_weights.ClipWeights, init_args: {greatest: 5}}]'
"""  # noqa: E501

from torch import Tensor

from misodice import Weighting


class ClipWeights(Weighting):
    """Weights above `greatest` are cut to it; then the mean is made 1 again.

    Args:
        greatest: weight of a transition at most, before the mean is made 1 again.
    """

    def __init__(self, greatest: float = 10.0) -> None:
        self.greatest = greatest

    def __call__(self, weight: Tensor, length: Tensor, expert: Tensor | None) -> Tensor:
        clipped = weight.clamp(max=self.greatest)
        return clipped / clipped.mean(dim=0)
