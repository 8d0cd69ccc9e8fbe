"""The true source, for studies of how much the labels cost."""

from __future__ import annotations

from misodice.data.episodes import Episodes
from misodice.data.preferences import Answer
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller


class OracleLabeller(Labeller):
    """An episode of the source "expert" is better than one of any other; two of a kind are a tie."""

    tie_reason = "same source"
    free = True

    def check(self, episodes: Episodes) -> None:
        if episodes.source is None:
            raise MisodiceError(
                "OracleLabeller: the episodes file has no 'episode/source', which the oracle reads; choose RuleLabeller"
            )

    def compare(self, episodes: Episodes, first: int, second: int) -> Answer:
        assert episodes.source is not None
        a, b = (bool(episodes.source[index] == "expert") for index in (first, second))
        return "tie" if a == b else "first" if a else "second"

    def view(self, episodes: Episodes, first: int, second: int) -> str:
        self.check(episodes)
        assert episodes.source is not None
        return f"first: source {episodes.source[first]}\nsecond: source {episodes.source[second]}"
