"""A describer of one's own: a language model is told named features of the state at a few moments.

misodice label --config configs/smacv2_zerg.yaml --labels.labeller LLMLabeller --labels.labeller.describer examples.feature_describer.FeatureDescriber --labels.labeller.describer.pattern health --show 1
"""  # noqa: E501

import re
from collections.abc import Callable

import numpy as np

from misodice import Describer, Episodes, MisodiceError
from misodice.labelling.describe.base import tokens


class FeatureDescriber(Describer):
    """One line for each moment, with the values of some features. It suits any task whose file names them.

    Args:
        pattern: regular expression; features whose names have it are told. An empty one tells all.
        moments: how many moments of an episode are told; the first and the last state are among them.
    """

    def __init__(self, pattern: str = "", moments: int = 3) -> None:
        self.pattern, self.moments = pattern, moments

    def describe(self, episodes: Episodes, max_tokens: int) -> Callable[[int], str]:
        names = episodes.header.state_features
        chosen = [i for i, name in enumerate(names) if re.search(self.pattern, name)]
        if not chosen:
            raise MisodiceError(f"FeatureDescriber: no state feature fits {self.pattern!r}; names: {names[:5]}")

        def describe_one(index: int) -> str:
            state = episodes[index].state
            text = f"Length: {len(state) - 1} steps."
            for step in np.linspace(0, len(state) - 1, self.moments).round().astype(int):
                text += f"\nStep {step}: " + ", ".join(f"{names[i]} {state[step, i]:.2f}" for i in chosen)
            if tokens(text) > max_tokens:
                raise MisodiceError(f"FeatureDescriber: more than {max_tokens} tokens; tell fewer moments or features")
            return text

        return describe_one
