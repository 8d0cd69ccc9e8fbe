"""The pairs of one run: what they show, what they cost, and their answers."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.data.preferences import Preferences, PreferencesFile
from misodice.errors import MisodiceError
from misodice.labelling.labels import Labels
from misodice.labelling.left_out import left_out
from misodice.labelling.show import show
from misodice.runs.fingerprint import fingerprint


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
        self.pairs = labels.labeller.pairs(episodes, labels.n_pairs, labels.seed)
        self.fingerprint = fingerprint(digest, labels.n_pairs, labels.seed, labels.labeller.identity())
        own = run_dir / "preferences.jsonl"
        where = shared / f"preferences-{self.fingerprint}.jsonl" if shared else own
        self._file = PreferencesFile(labels.path or where, self.pairs, self.fingerprint)
        self._copy = PreferencesFile(own, self.pairs, self.fingerprint) if shared and labels.path is None else None

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
        self._console.print(f"{type(self._labeller).__name__}: {estimate}", highlight=False)

    def answer(self, ask_again: bool = False) -> Preferences:
        """Have every pair answered that is not answered yet, by one process alone, and return all answers.

        Args:
            ask_again: ask for pairs too that an earlier run went on without, since asking for them failed.

        Returns:
            All answers; a pair that is left out is a tie with its reason.

        Raises:
            MisodiceError: the labeller cannot judge these episodes, or every pair is a tie.
        """
        if not self._file.missing or (not ask_again and not _open(self._file)):
            self._console.print(f"labels: up to date ({self._file.path}), not asked again", highlight=False)
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
        preferences = Preferences.of([*file.lines, *without])
        self._report(preferences)
        return preferences

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
                "learn from; a judge that always names one position ends like this: look at some pairs with "
                "`misodice label --show 3`, and choose another --labels.labeller or model"
            )
        self._console.print(
            f"labels: {int(preferences.informative.sum())} of {len(preferences.answer)} pairs have a winner"
            + (f"; left out as ties: {reasons}" if reasons else ""),
            highlight=False,
            markup=False,
        )
        if self.left_out:
            self._console.print(
                f"labels: {len(self.left_out)} of these ties have no answer, since asking for it failed; `misodice "
                "label` asks again",
                highlight=False,
            )


def _open(file: PreferencesFile) -> list[int]:
    """Pairs that have no answer and are not left out."""
    without = left_out(file.lines)
    return [pair for pair in file.missing if pair not in without]
