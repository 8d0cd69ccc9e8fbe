"""What every describer is: an episode in, words out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from misodice.data.episodes import Episodes
from misodice.runs.parts import Part, config_of

CHARACTERS_PER_TOKEN = 3


class Describer(Part, ABC):
    """Base class of what tells a language model about an episode (paper B.2.2).

    Choose one by `--labels.labeller.describer ClassName` or by its class path.
    """

    wording: ClassVar[int]
    """Optional version of the words. A class that sets it raises it with every change of the words, and other edits
    then keep the answers that were paid for. Without it every edit of the class asks for all answers anew."""

    @abstractmethod
    def describe(self, episodes: Episodes, max_tokens: int) -> Callable[[int], str]:
        """Prepare to describe the episodes of one file.

        Args:
            episodes: the file.
            max_tokens: greatest length of one description (see `tokens`).

        Returns:
            A function from an episode's index to its description. It may raise a MisodiceError where the description
            does not fit.

        Raises:
            MisodiceError: the file cannot be described.
        """

    def identity(self) -> Any:
        """What determines the words, for the fingerprint of preferences.jsonl."""
        return [config_of(self), self.wording] if "wording" in vars(type(self)) else self


def tokens(text: str) -> int:
    """About how many tokens a text has: four characters of English make one, of the many numbers here fewer do."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)
