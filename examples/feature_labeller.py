"""A labeller of one's own: the better episode is the one at whose end a feature of the state is greater.

misodice label --config configs/smacv2_zerg.yaml --labels.labeller examples.feature_labeller.FeatureLabeller --labels.labeller.ending .health
"""  # noqa: E501

import numpy as np

from misodice import Episodes, Labeller, MisodiceError
from misodice.data.preferences import Answer


class FeatureLabeller(Labeller):
    """Sums, in the last state, the features of the allies whose names have one ending. The greater sum wins.

    Args:
        beginning: of the features' names.
        ending: of the features' names.
        margin: sums that differ by no more than this are a tie.
    """

    tie_reason = "sums too close"

    def __init__(self, beginning: str = "ally_", ending: str = ".health", margin: float = 0.0) -> None:
        self.beginning, self.ending, self.margin = beginning, ending, margin

    def check(self, episodes: Episodes) -> None:
        if not self.columns(episodes):
            raise MisodiceError(
                f"FeatureLabeller: no state feature begins with {self.beginning!r} and ends with {self.ending!r}; the "
                f"file has {', '.join(episodes.header.state_features[:5]) or 'no names'}"
            )

    def columns(self, episodes: Episodes) -> list[int]:
        names = enumerate(episodes.header.state_features)
        return [i for i, name in names if name.startswith(self.beginning) and name.endswith(self.ending)]

    def compare(self, episodes: Episodes, first: int, second: int) -> Answer:
        a, b = (float(np.sum(episodes[index].state[-1, self.columns(episodes)])) for index in (first, second))
        return "tie" if abs(a - b) <= self.margin else "first" if a > b else "second"
