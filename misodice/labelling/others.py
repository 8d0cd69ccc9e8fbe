"""Answers of another labeller, or to other pairs, where a run keeps its own: they are not set aside unasked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from misodice.data.preferences import Preferences, PreferencesFile, read_header
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller
from misodice.runs.differences import differences
from misodice.runs.fingerprint import fingerprint
from misodice.runs.parts import class_path


@dataclass(frozen=True)
class OtherAnswers:
    """A preferences file of another fingerprint.

    Args:
        path: the file.
        header: its first line.
        now: what the header of this run's own answers would say in `made_by`.
    """

    path: Path
    header: dict[str, Any]
    now: dict[str, Any]

    @classmethod
    def find(cls, files: Iterable[PreferencesFile], labeller: Labeller, now: dict[str, Any]) -> Self | None:
        """The first of `files` that would be set aside, unless its answers can be had again at no cost.

        So other options of one labeller that costs nothing are no question; another class of labeller always is one.

        Args:
            files: those of a run.
            labeller: of this run.
            now: what the header of its own answers would say in `made_by`.
        """
        for file in files:
            header = read_header(file.path)
            if header is None or header["fingerprint"] == file.fingerprint:
                continue
            other = cls(file.path, header, now)
            free = labeller.free and other.labeller == class_path(type(labeller))
            if not free and len(Preferences.read(file.path).answer):
                return other
        return None

    @property
    def made_by(self) -> dict[str, Any]:
        """Options that the answers were made with, and the digest of their episodes; empty where the file is old."""
        found: dict[str, Any] = self.header.get("made_by") or {}
        return found

    @property
    def labeller(self) -> str | None:
        """Class path of who gave the answers."""
        return (self.made_by.get("labeller") or {}).get("class_path")

    def refuse(self, asked: Labeller) -> None:
        """Raise a MisodiceError that says what the user may do."""
        found = f"answers of {self.labeller.rpartition('.')[2]}" if self.labeller else "answers that name no labeller"
        if self.made_by.get("data") not in (None, self.now["data"]):
            found += " to pairs of other episodes"
        before, now = ({"labels": {**each, "data": None}} for each in (self.made_by, self.now))
        if self.made_by and (changes := differences(before, now)):
            found += f" made with other options ({'; '.join(changes)})"
        raise MisodiceError(
            f"{self.path}: holds {found}, and this command asks {type(asked).__name__}. To train on them, give the "
            "same --labels options as they were made with, or --labels.other_answers use. To keep them under another "
            "name and label anew: --labels.other_answers set_aside"
        )

    def read(self, n_episodes: int, console: Console) -> Preferences:
        """The answers, to be used as they are.

        Args:
            n_episodes: of this run.
            console: gets one line.

        Raises:
            MisodiceError: they are to pairs of other episodes.
        """
        preferences = Preferences.read(self.path)
        if self.made_by.get("data") not in (None, self.now["data"]) or preferences.pairs.max(initial=0) >= n_episodes:
            raise MisodiceError(
                f"{self.path}: its answers are to pairs of other episodes than those of data.path, so they cannot be "
                "used; name the file they were made for, or give --labels.other_answers set_aside"
            )
        left = int(self.header.get("n_pairs", 0)) - len(preferences.answer)
        console.print(
            f"labels: using the {len(preferences.answer)} answers in {self.path} as they are; nobody is asked"
            + (f" ({left} pairs there have no answer and are left out)" if left > 0 else "")
        )
        return preferences

    def fingerprint(self, preferences: Preferences) -> str:
        """Complete, they are what a run with their labeller's options would find; else they are known by content."""
        if self.header.get("n_pairs") == len(preferences.answer):
            return str(self.header["fingerprint"])
        return fingerprint("used", self.now["data"], preferences.pairs, preferences.answer)
