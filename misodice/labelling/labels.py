"""The `labels` block: which pairs are asked, whom, and where the answers lie."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.data.preferences import Preferences, PreferencesFile
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller
from misodice.labelling.show import show
from misodice.runs.run_dir import fingerprint


class Labels:
    """Phase 1's pairs and who answers them (paper B.2).

    Args:
        labeller: RuleLabeller, OracleLabeller, LLMLabeller, RecordedLabeller, or the class path of your own.
        n_pairs: pairs of episodes; RecordedLabeller brings its own.
        seed: which pairs; it is not the run's seed, so that runs of several seeds may share answers that were paid for.
        held_out: share of the pairs with a winner that the preference stage is judged by and never trained on.
        path: preferences file to use and go on with; null is the run's own preferences.jsonl, or with --shared_stages
            one there that every run of the same data and labeller answers into, copied into the run when it is done.
    """

    def __init__(
        self, labeller: Labeller, n_pairs: int = 2000, seed: int = 0, held_out: float = 0.1, path: str | None = None
    ) -> None:
        self.labeller, self.n_pairs, self.seed, self.held_out, self.path = labeller, n_pairs, seed, held_out, path

    def attach(self, digest: str, episodes: Episodes, run_dir: Path, shared: Path | None) -> None:
        """Say which episodes are to be judged, where the run is and where runs share answers; the CLI does."""
        self.episodes = episodes
        pairs = self.labeller.pairs(episodes, self.n_pairs, self.seed)
        self.fingerprint = fingerprint(digest, self.n_pairs, self.seed, self.labeller.identity())
        own = run_dir / "preferences.jsonl"
        where = shared / f"preferences-{self.fingerprint}.jsonl" if shared else own
        self.file = PreferencesFile(where if self.path is None else Path(self.path), pairs, self.fingerprint)
        self.copy = PreferencesFile(own, pairs, self.fingerprint) if shared and self.path is None else None

    def show(self, k: int, console: Console) -> None:
        """Print `k` pairs as the labeller sees them, with its answers so far."""
        show(self.labeller, self.episodes, self.file, k, console)

    def estimate(self, console: Console) -> None:
        """Print what the answers that are missing would cost; nothing is asked."""
        estimate = self.labeller.estimate(self.episodes, self.file)
        console.print(f"{type(self.labeller).__name__}: {estimate}", highlight=False)

    def answer(self, is_global_zero: bool, console: Console) -> Preferences:
        """Have every pair answered that is not, by one process alone, and give the answers.

        Raises:
            MisodiceError: the labeller cannot judge these episodes, or every pair came out as a tie.
        """
        if not self.file.missing:
            console.print(f"labels: up to date ({self.file.path}), not asked again")
        elif is_global_zero:
            self.labeller.label(self.episodes, self.file)
        while (file := PreferencesFile(self.file.path, self.file.pairs, self.fingerprint)).missing:
            # Answers of a language model may take longer than any barrier between processes waits.
            time.sleep(1.0)
        if self.copy and not self.copy.lines and is_global_zero:
            with self.copy:
                self.copy.append(*file.lines)
        # What was just read, and not the path again: a run with other labels may have set the file aside by now.
        preferences = Preferences.of(file.lines)
        reasons = ", ".join(f"{count} {why}" for why, count in preferences.tie_reasons.items())
        if not preferences.informative.any():
            raise MisodiceError(
                f"{self.file.path}: all {len(preferences.answer)} pairs are ties ({reasons}), so there is nothing to "
                "learn from; a judge that always names one position ends like this: look at some pairs with "
                "`misodice label --show 3`, and choose another --labels.labeller or model"
            )
        console.print(
            f"labels: {int(preferences.informative.sum())} of {len(preferences.answer)} pairs have a winner"
            + (f"; left out as ties: {reasons}" if reasons else ""),
            highlight=False,
        )
        return preferences
