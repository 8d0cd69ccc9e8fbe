"""The pairs of one run: what they show, what they cost, and their answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.data.preferences import Preferences, PreferencesFile, possible_pairs
from misodice.errors import MisodiceError
from misodice.labelling.labels import Labels
from misodice.labelling.left_out import left_out
from misodice.labelling.others import OtherAnswers
from misodice.labelling.show import show
from misodice.runs.fingerprint import fingerprint
from misodice.runs.parts import config_of

ASKED = ("labeller", "n_pairs", "seed")
"""Options of the labels that decide which answers there are; a preferences file names them."""


class LabelJob:
    """The pairs of one episodes file and the preferences file of their answers; constructing it only reads.

    Args:
        labels: the options.
        episodes: the file that the pairs are of.
        digest: hash of the file's content.
        run_dir: the run's folder, which gets preferences.jsonl.
        shared: folder where runs share answers; None where they do not.
        is_global_zero: whether this process is the one that asks; the others wait for it.
        console: gets what is printed.

    Attributes:
        pairs: indices of episodes, int64 [P, 2].
        fingerprint: of data, pairs and labeller.
        labeller: name of the class that answers or has answered; "unknown" where a file does not say.
        options: of the labels, as plain values; where answers of another labeller are used, the options that made them.

    Raises:
        MisodiceError: there are too few episodes for the pairs, or the preferences file cannot be used.
    """

    def __init__(
        self,
        labels: Labels,
        episodes: Episodes,
        digest: str,
        run_dir: Path,
        shared: Path | None,
        is_global_zero: bool,
        console: Console,
    ) -> None:
        self._labeller, self._episodes = labels.labeller, episodes
        self._is_global_zero, self._console = is_global_zero, console
        self._other_answers = labels.other_answers
        if labels.path and not Path(labels.path).parent.is_dir():
            raise MisodiceError(
                f"labels.path: the folder {Path(labels.path).parent} does not exist; make it, or correct the path"
            )
        pairs = labels.labeller.pairs(episodes, labels.n_pairs, labels.seed)
        possible = possible_pairs(episodes.n_episodes)
        if len(pairs) == possible < labels.n_pairs:
            console.print(
                f"labels: {episodes.n_episodes} episodes have {possible} pairs, and labels.n_pairs is "
                f"{labels.n_pairs}: all pairs are taken"
            )
        # Both numbers mean the same pairs, and answers to them may have been paid for.
        n_pairs = min(labels.n_pairs, possible)
        mark = fingerprint(digest, n_pairs, labels.seed, labels.labeller.identity())
        described = config_of(labels)["init_args"]
        self._made_by: dict[str, Any] = {name: described[name] for name in ASKED} | {"data": digest}
        own = run_dir / "preferences.jsonl"
        where = Path(labels.path) if labels.path else shared / f"preferences-{mark}.jsonl" if shared else own
        self._file = PreferencesFile(where, pairs, mark, self._made_by)
        self._copy = PreferencesFile(own, pairs, mark, self._made_by) if shared and labels.path is None else None
        files = [file for file in (self._file, self._copy) if file is not None]
        self._others = OtherAnswers.find(files, labels.labeller, self._made_by)
        self._used: Preferences | None = None
        self.pairs, self.fingerprint, self.options = pairs, mark, described
        self.labeller = type(labels.labeller).__name__
        if self._others and labels.other_answers == "use":
            self._used = self._others.read(episodes.n_episodes, console)
            self.pairs, self.fingerprint = self._used.pairs, self._others.fingerprint(self._used)
            made_by = self._others.made_by
            self.options = described | {name: made_by[name] for name in ASKED if name in made_by}
            self.labeller = (self._others.labeller or "unknown").rpartition(".")[2]

    @property
    def left_out(self) -> dict[int, str]:
        """Why each pair is left out that the labeller could get no answer for."""
        return left_out(self._file.lines)

    def show(self, k: int, output: Path | None = None) -> None:
        """Print `k` pairs as the labeller sees them, with its answers so far, or write them whole to a file.

        Raises:
            MisodiceError: `k` is less than 1, or the file exists or cannot be written.
        """
        show(self._labeller, self._episodes, self._file, k, self._console, output)

    def estimate(self) -> None:
        """Print what the missing answers would cost; nothing is asked."""
        estimate = self._labeller.estimate(self._episodes, self._file)
        self._console.print(f"{type(self._labeller).__name__}: {estimate}")

    def check(self) -> None:
        """Look for answers that nobody asked to set aside.

        Raises:
            MisodiceError: there are some, and the options do not say what is to be done with them.
        """
        if self._others is not None and self._other_answers == "stop":
            self._others.refuse(self._labeller)

    def answer(self, ask_again: bool = False) -> Preferences:
        """Have every pair answered that is not answered yet, by one process alone, and return all answers.

        Args:
            ask_again: ask for pairs too that an earlier run went on without, since asking for them failed.

        Returns:
            All answers; a pair that is left out is a tie with its reason.

        Raises:
            MisodiceError: there are answers of another labeller (see `check`), the labeller cannot judge these
                episodes, or every pair is a tie.
        """
        self.check()
        preferences = self._asked(ask_again) if self._used is None else self._used
        self._report(preferences)
        return preferences

    def _asked(self, ask_again: bool) -> Preferences:
        if not self._file.missing or (not ask_again and not _open(self._file)):
            self._console.print(f"labels: up to date ({self._file.path}), not asked again")
        elif self._is_global_zero:
            self._labeller.label(self._episodes, self._file)
        while pairs := _open(file := PreferencesFile(self._file.path, self.pairs, self.fingerprint)):
            if self._is_global_zero:
                raise MisodiceError(
                    f"{file.path}: {type(self._labeller).__name__}.label ended, and {len(pairs)} pairs have no answer; "
                    "it must append one for each"
                )
            # Answers of a language model may take longer than any barrier between processes waits.
            time.sleep(1.0)
        self._file = file
        if self._copy and self._is_global_zero and len(self._copy.lines) < len(file.lines):
            with self._copy:
                self._copy.append(*file.lines[len(self._copy.lines) :])
        # What was just read, and not the path again: a run with other labels may have set the file aside by now.
        without = [file.preference(pair, "tie", why) for pair, why in self.left_out.items()]
        return Preferences.of([*file.lines, *without])

    def _report(self, preferences: Preferences) -> None:
        reasons = ", ".join(f"{count} {why}" for why, count in preferences.tie_reasons.items())
        if len(self.left_out) == len(preferences.answer):
            raise MisodiceError(
                f"{self._file.path}: none of the {len(preferences.answer)} pairs has an answer ({reasons}); `misodice "
                "label` asks them again"
            )
        if not preferences.informative.any():
            raise MisodiceError(
                f"{self._file.path}: all {len(preferences.answer)} pairs are ties ({reasons}), so there is nothing to "
                f"learn from; {_why(preferences)}look at some pairs with `misodice label --show 3`, and choose another "
                "--labels.labeller or model"
            )
        self._console.print(
            f"labels: {int(preferences.informative.sum())} of {len(preferences.answer)} pairs have a winner"
            + (f"; left out as ties: {reasons}" if reasons else "")
        )
        if self.left_out:
            self._console.print(
                f"labels: {len(self.left_out)} of these ties have no answer, since asking for it failed; `misodice "
                "label` asks again"
            )


def _why(preferences: Preferences) -> str:
    """The usual cause, where all pairs are ties."""
    often = max(preferences.tie_reasons, key=lambda reason: preferences.tie_reasons[reason])
    return "a judge that always names one position ends like this: " if often == "inconsistent" else ""


def _open(file: PreferencesFile) -> list[int]:
    """Pairs that have no answer and are not left out."""
    without = left_out(file.lines)
    return [pair for pair in file.missing if pair not in without]
