"""What every labeller is: pairs of episodes in, preferences out."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

import numpy as np
from rich.progress import track

from misodice.data.episodes import Episodes
from misodice.data.preferences import CODES, Answer, PreferencesFile, sample_pairs
from misodice.errors import MisodiceError
from misodice.runs.parts import Part


class Labeller(Part, ABC):
    """Base class of labellers; choose one by `--labels.labeller ClassName` or by its class path.

    A labeller that judges each pair by itself overrides `compare` alone.
    """

    tie_reason = "judged equal"
    """Why `compare` calls a pair a tie, as it is counted in the results."""
    free: ClassVar[bool] = False
    """Whether the same answers can be had again at once and at no cost. Other answers are never set aside unasked."""

    def compare(self, episodes: Episodes, first: int, second: int) -> Answer:
        """Which of two episodes is better.

        Args:
            episodes: the file.
            first: index of an episode.
            second: index of another.
        """
        raise MisodiceError(f"{type(self).__name__} overrides neither compare nor label")

    def check(self, episodes: Episodes) -> None:
        """Raise a MisodiceError where the file lacks what this labeller reads."""

    def pairs(self, episodes: Episodes, n_pairs: int, seed: int) -> np.ndarray:
        """The pairs that are to be answered, int64 [P, 2]: sampled, unless this labeller has its own.

        Args:
            episodes: the file.
            n_pairs: how many pairs are asked for.
            seed: of the sample.
        """
        return sample_pairs(episodes.n_episodes, n_pairs, seed)

    def estimate(self, episodes: Episodes, file: PreferencesFile) -> object:
        """What the pairs without an answer will cost; its text is printed by `misodice label --dry_run`."""
        return f"{len(file.missing)} of {len(file.pairs)} pairs are to be answered, at no cost"

    def label(self, episodes: Episodes, file: PreferencesFile) -> None:
        """Answer every pair of `file` that has no answer yet, and append it.

        Raises:
            MisodiceError: the file lacks what the labeller reads, or cannot be written.
        """
        self.check(episodes)
        with file:
            for pair in track(file.missing, "labelling", transient=True):
                answer = self.compare(episodes, *file.pairs[pair].tolist())
                if answer not in CODES:
                    raise MisodiceError(
                        f"{type(self).__name__}.compare returned {answer!r}, expected 'first', 'second' or 'tie'"
                    )
                file.append(file.preference(pair, answer, self.tie_reason))

    def identity(self) -> Any:
        """What determines the answers, for the fingerprint of preferences.jsonl.

        By default it is the labeller itself: its class, its constructor's arguments, and its source where it lies
        outside the installed packages.
        """
        return self

    def view(self, episodes: Episodes, first: int, second: int) -> str:
        """What this labeller sees of a pair, for `misodice label --show`."""
        lengths = episodes.length[[first, second]]
        return f"first: {lengths[0]} steps\nsecond: {lengths[1]} steps"
