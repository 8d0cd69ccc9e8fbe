"""Answers that exist already, such as the preferences in an imported file."""

from __future__ import annotations

from typing import Any

import numpy as np

from misodice.data.episodes import Episodes
from misodice.data.preferences import ANSWERS, Answer, Preferences, PreferencesFile, mark_of_episodes, read_header
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller
from misodice.runs.limits import PATH, limited


class RecordedLabeller(Labeller):
    """The answers of a file, for its own pairs: nothing is sampled and nobody is asked.

    Args:
        path: preferences file that `misodice convert` wrote beside the episodes file.
    """

    free = True

    @limited("labels.labeller", path=PATH)
    def __init__(self, path: str) -> None:
        self.path = path

    def pairs(self, episodes: Episodes, n_pairs: int, seed: int) -> np.ndarray:
        """The file's pairs, int64 [P, 2], whatever `n_pairs` and `seed` are.

        Raises:
            MisodiceError: the file is missing or malformed, or its indices are of other episodes than these.
        """
        recorded = Preferences.read(self.path)
        expected = mark_of_episodes(episodes.length, episodes.returns)
        found = (read_header(self.path) or {}).get("fingerprint")
        if found != expected:
            raise MisodiceError(
                f"{self.path}: its pairs are of the episodes file with mark {found}, and data.path has {expected}; "
                "give the file it was converted with: `mix` and every other convert number the episodes otherwise"
            )
        return recorded.pairs

    def compare(self, episodes: Episodes, first: int, second: int) -> Answer:
        recorded = Preferences.read(self.path)
        same = (recorded.pairs == [first, second]).all(axis=1)
        return ANSWERS[int(recorded.answer[same][0])]

    def label(self, episodes: Episodes, file: PreferencesFile) -> None:
        # By the pair's number and not by its episodes: a file may ask for a pair twice and hold two answers.
        answer = Preferences.read(self.path).answer
        with file:
            file.append(*(file.preference(i, ANSWERS[int(answer[i])]) for i in file.missing))

    def identity(self) -> dict[str, Any]:
        recorded = Preferences.read(self.path)
        return {"class": type(self), "pairs": recorded.pairs, "answers": recorded.answer}

    def view(self, episodes: Episodes, first: int, second: int) -> str:
        return super().view(episodes, first, second) + f"\nrecorded in {self.path}"
