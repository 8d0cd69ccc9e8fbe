"""The pairs of one run: what they show, what they cost, and their answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.data.preferences import Preferences, PreferencesFile, possible_pairs, read_header
from misodice.errors import MisodiceError
from misodice.labelling.labels import Labels
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
        self._labeller, self._episodes, self._digest = labels.labeller, episodes, digest
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
        self._others = self._find_others()
        self._used: Preferences | None = None
        self.pairs, self.fingerprint, self.options = pairs, mark, described
        self.labeller = type(labels.labeller).__name__
        if self._others and labels.other_answers == "use":
            self._used, header = self._read_others(), self._others[1]
            self.pairs = self._used.pairs
            complete = header.get("n_pairs") == len(self.pairs)
            # Complete, they are what a run with their labeller's options would find.
            own_mark = fingerprint("used", digest, self._used.pairs, self._used.answer)
            self.fingerprint = str(header["fingerprint"]) if complete else own_mark
            made_by = header.get("made_by") or {}
            self.options = described | {name: made_by[name] for name in ASKED if name in made_by}
            self.labeller = self.options["labeller"]["class_path"].rpartition(".")[2] if made_by else "unknown"

    def show(self, k: int) -> None:
        """Print `k` pairs as the labeller sees them, with its answers so far."""
        show(self._labeller, self._episodes, self._file, k, self._console)

    def estimate(self) -> None:
        """Print what the missing answers would cost; nothing is asked."""
        estimate = self._labeller.estimate(self._episodes, self._file)
        self._console.print(f"{type(self._labeller).__name__}: {estimate}", highlight=False)

    def check(self) -> None:
        """Look for answers that nobody asked to set aside.

        Raises:
            MisodiceError: there are some, and the options do not say what is to be done with them.
        """
        if self._others is None or self._other_answers != "stop":
            return
        path, header = self._others
        made_by = header.get("made_by") or {}
        labeller = (made_by.get("labeller") or {}).get("class_path")
        found = f"answers of {labeller.rpartition('.')[2]}" if labeller else "answers that name no labeller"
        if made_by.get("data") not in (None, self._digest):
            found += " to pairs of other episodes"
        raise MisodiceError(
            f"{path}: holds {found}, and this command asks {type(self._labeller).__name__}. To train on them, give the "
            "same --labels options as they were made with, or --labels.other_answers use. To keep them under another "
            "name and label anew: --labels.other_answers set_aside"
        )

    def answer(self) -> Preferences:
        """Have every pair answered that is not answered yet, by one process alone, and return all answers.

        Raises:
            MisodiceError: there are answers of another labeller (see `check`), the labeller cannot judge these
                episodes, or every pair is a tie.
        """
        self.check()
        preferences = self._asked() if self._used is None else self._used
        self._report(preferences)
        return preferences

    def _asked(self) -> Preferences:
        if not self._file.missing:
            self._console.print(f"labels: up to date ({self._file.path}), not asked again")
        elif self._is_global_zero:
            self._labeller.label(self._episodes, self._file)
        while (file := PreferencesFile(self._file.path, self.pairs, self.fingerprint)).missing:
            # Answers of a language model may take longer than any barrier between processes waits.
            time.sleep(1.0)
        if self._copy and not self._copy.lines and self._is_global_zero:
            with self._copy:
                self._copy.append(*file.lines)
        # What was just read, and not the path again: a run with other labels may have set the file aside by now.
        return Preferences.of(file.lines)

    def _find_others(self) -> tuple[Path, dict[str, Any]] | None:
        """A file with answers that would be set aside, and its header; those that anybody can have again do not count.

        So other options of one labeller that costs nothing are no question; another class of labeller always is one.
        """
        for file in (self._file, self._copy):
            header = None if file is None else read_header(file.path)
            if file is None or header is None or header["fingerprint"] == file.fingerprint:
                continue
            before = ((header.get("made_by") or {}).get("labeller") or {}).get("class_path")
            same_class = before == self._made_by["labeller"]["class_path"]
            if not (same_class and self._labeller.free) and len(Preferences.read(file.path).answer):
                return file.path, header
        return None

    def _read_others(self) -> Preferences:
        assert self._others is not None
        path, header = self._others
        data = (header.get("made_by") or {}).get("data")
        preferences = Preferences.read(path)
        count = self._episodes.n_episodes
        if data not in (None, self._digest) or preferences.pairs.max(initial=0) >= count:
            raise MisodiceError(
                f"{path}: its answers are to pairs of other episodes than those of data.path, so they cannot be used; "
                "name the file they were made for, or give --labels.other_answers set_aside"
            )
        left = int(header.get("n_pairs", 0)) - len(preferences.answer)
        self._console.print(
            f"labels: using the {len(preferences.answer)} answers in {path} as they are; nobody is asked"
            + (f" ({left} pairs there have no answer and are left out)" if left > 0 else "")
        )
        return preferences

    def _report(self, preferences: Preferences) -> None:
        reasons = ", ".join(f"{count} {why}" for why, count in preferences.tie_reasons.items())
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
        )
