"""Pairs of episodes, and preferences.jsonl: the append-only record of which of each pair is better.

One JSON object a line, told apart by `kind`:

- `header`, the first line: `format`, `version`, `fingerprint` of what made the file, `n_pairs`, and in files that
  misodice has made `made_by`: the labeller's class and options, and the digest of the episodes.
- `preference`, one a pair: `pair` (its index), `episodes` (their two indices), `answer`, `tie_reason`.
- what a labeller keeps for itself, such as the paid replies of a language model (`reply`, `structured`, `batch`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np

from misodice.errors import MisodiceError
from misodice.runs.console import console
from misodice.runs.files import write_text
from misodice.runs.lock import one_at_a_time

FORMAT = "misodice-preferences"
VERSION = 1
Answer = Literal["first", "second", "tie"]
FIRST, SECOND, TIE = 0, 1, -1
CODES: dict[Answer, int] = {"first": FIRST, "second": SECOND, "tie": TIE}
ANSWERS: dict[int, Answer] = {code: answer for answer, code in CODES.items()}
Line = dict[str, Any]


def possible_pairs(n_episodes: int) -> int:
    """How many unordered pairs of different episodes there are."""
    return n_episodes * (n_episodes - 1) // 2


def sample_pairs(n_episodes: int, n_pairs: int, seed: int) -> np.ndarray:
    """Pairs of different episodes, no unordered pair twice, each in random orientation (paper B.2).

    Returns:
        Indices of episodes, int64 [n_pairs, 2], or all pairs where there are fewer.

    Raises:
        MisodiceError: n_pairs or seed is too small, or there is one episode alone.
    """
    if n_pairs < 1:
        raise MisodiceError(f"labels.n_pairs is {n_pairs}, expected at least 1; give how many pairs are asked")
    if seed < 0:
        raise MisodiceError(f"labels.seed is {seed}, expected at least 0; choose another")
    possible = possible_pairs(n_episodes)
    if not possible:
        raise MisodiceError(
            f"labels: {n_episodes} episode has no other to be compared with, expected at least 2; give more episodes, "
            "or --data.ranking return, which asks for no pairs"
        )
    n_pairs = min(n_pairs, possible)
    rng = np.random.default_rng(seed)
    number = rng.choice(possible, n_pairs, replace=False)
    # Pairs i < j are numbered j(j−1)/2 + i; the two corrections undo the rounding of the square root.
    larger = ((1 + np.sqrt(8.0 * number + 1)) / 2).astype(np.int64)
    larger -= larger * (larger - 1) // 2 > number
    larger += larger * (larger + 1) // 2 <= number
    pairs = np.stack([number - larger * (larger - 1) // 2, larger], axis=1).astype(np.int64)
    swapped = rng.random(n_pairs) < 0.5
    pairs[swapped] = pairs[swapped, ::-1]
    return pairs


@dataclass(frozen=True)
class Preferences:
    """The answered pairs, in the order of the pairs, whatever the order of the answers.

    Attributes:
        pairs: indices of episodes, int64 [P, 2].
        answer: 0 where the first is better, 1 where the second is, −1 for a tie, int8 [P].
        tie_reasons: how many ties there are for each reason.
        position_consistency: of the pairs a judge answered in both orders, the share it answered alike; None where
            no pair was asked in both orders.
    """

    pairs: np.ndarray
    answer: np.ndarray
    tie_reasons: dict[str, int]
    position_consistency: float | None = None

    @property
    def informative(self) -> np.ndarray:
        """Which pairs are no tie and so take part in the loss, bool [P]."""
        return np.asarray(self.answer != TIE)

    @property
    def tie_share(self) -> float:
        """Share of ties among the answered pairs; 0 where nothing is answered."""
        return float((self.answer == TIE).mean()) if len(self.answer) else 0.0

    @classmethod
    def read(cls, path: str | Path) -> Preferences:
        """Read a file, finished or not; a last line that a killed writer left half written is not counted.

        Raises:
            MisodiceError: the file is missing, is of another format or version, or a line of it is no JSON.
        """
        path = Path(path)
        if not path.is_file():
            raise MisodiceError(f"{path}: no such file; make it with `misodice label`")
        lines, _ = _read_lines(path)
        if not lines:
            raise MisodiceError(f"{path}: the header is missing; delete the file and label again")
        _check_header(path, lines[0])
        return cls.of(lines)

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Preferences:
        """The answers among a file's lines."""
        made = sorted((line for line in lines if line["kind"] == "preference"), key=lambda line: int(line["pair"]))
        return cls(
            pairs=np.array([line["episodes"] for line in made], np.int64).reshape(-1, 2),
            answer=np.array([CODES[line["answer"]] for line in made], np.int8),
            tie_reasons=dict(Counter(line["tie_reason"] for line in made if line["answer"] == "tie")),
            position_consistency=_position_consistency(lines),
        )


def mark_of_episodes(length: np.ndarray, returns: np.ndarray | None) -> str:
    """What tells in which file indices of episodes count: a hash of the lengths and returns [E], in order."""
    digest = hashlib.sha256(np.ascontiguousarray(length, np.int64).tobytes())
    if returns is not None:
        digest.update(np.ascontiguousarray(returns, np.float32).tobytes())
    return digest.hexdigest()[:16]


def read_header(path: str | Path) -> Line | None:
    """The first line of a preferences file; None where there is no file, or nothing in it.

    Raises:
        MisodiceError: it is of another format or version.
    """
    path = Path(path)
    lines, _ = _read_lines(path) if path.is_file() else ([], 0)
    if lines:
        _check_header(path, lines[0])
    return lines[0] if lines else None


def write_preferences(path: Path, pairs: np.ndarray, answer: np.ndarray, mark: str) -> None:
    """Write answers that exist already, whole or not at all; RecordedLabeller reads them.

    Args:
        path: the file.
        pairs: indices of episodes, int64 [P, 2].
        answer: codes as in `Preferences.answer`, [P].
        mark: of the episodes that are meant (`mark_of_episodes`); it stands as the file's fingerprint.
    """
    lines: list[Line] = [
        {"kind": "header", "format": FORMAT, "version": VERSION, "fingerprint": mark, "n_pairs": len(pairs)}
    ]
    for index, (episodes, code) in enumerate(zip(pairs.tolist(), answer.tolist(), strict=True)):
        reason = "judged equal" if code == TIE else None
        line = {"kind": "preference", "pair": index, "episodes": episodes}
        lines.append({**line, "answer": ANSWERS[code], "tie_reason": reason})
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


class PreferencesFile:
    """Append answers to preferences.jsonl, and go on where an earlier run stopped.

    Constructing it only reads. Inside its `with` block this process alone writes, and others wait: the first line is
    made, or a torn last line cut off. A file of another fingerprint is never mixed with this one: it is renamed to
    `preferences.<its fingerprint>.jsonl`, and comes back when that fingerprint does.

    Args:
        path: the file.
        pairs: every pair to be answered, int64 [P, 2].
        fingerprint: of data, pairs and labeller, in characters that a file name may have.
        made_by: what a new file says of data and labeller.

    Raises:
        MisodiceError: the file is of another format or version, is no JSON, or holds other pairs.
    """

    def __init__(
        self, path: str | Path, pairs: np.ndarray, fingerprint: str, made_by: dict[str, Any] | None = None
    ) -> None:
        self.path, self.pairs, self.fingerprint = Path(path), np.asarray(pairs, np.int64), fingerprint
        self._made_by = made_by
        self._stream: BinaryIO | None = None
        self._held = ExitStack()
        kept = self._aside(fingerprint)
        self._read(kept if self._found_fingerprint() != fingerprint and kept.is_file() else self.path)

    @property
    def lines(self) -> list[Line]:
        """Every line of this fingerprint, the header left out."""
        return self._lines

    @property
    def missing(self) -> list[int]:
        """Indices of the pairs that have no answer yet."""
        return [pair for pair in range(len(self.pairs)) if pair not in self._answered]

    def __enter__(self) -> Self:
        waiting = f"{self.path}: another process is labelling into this file; waiting for it"
        with ExitStack() as entered:
            try:
                # The lock is a file of its own, which is never renamed.
                entered.enter_context(one_at_a_time(self.path, waiting, console()))
                self._renew(entered)
            except OSError as error:
                raise MisodiceError(f"{self.path}: cannot write there ({error}); name another run directory") from error
            self._held = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()
        self._stream = None

    def append(self, *lines: Line) -> None:
        """Write lines at once; what was paid for is on the disk when this returns."""
        assert self._stream is not None, "append belongs inside the with block"
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        while text:
            text = text[self._stream.write(text) :]
        # Computed answers are cheap to make again, and 2000 of these calls would take seconds.
        if any(line["kind"] != "preference" for line in lines):
            os.fsync(self._stream.fileno())
        for line in lines:
            self._note(line)

    def preference(self, pair: int, answer: Answer, tie_reason: str | None = None) -> Line:
        """The line that answers one pair; `tie_reason` counts only for a tie."""
        reason = (tie_reason or "judged equal") if answer == "tie" else None
        episodes = self.pairs[pair].tolist()
        return {"kind": "preference", "pair": pair, "episodes": episodes, "answer": answer, "tie_reason": reason}

    def _aside(self, fingerprint: str) -> Path:
        return self.path.with_name(f"{self.path.stem}.{fingerprint}{self.path.suffix}")

    def _found_fingerprint(self) -> str | None:
        header = read_header(self.path)
        return None if header is None else str(header["fingerprint"])

    def _read(self, path: Path) -> int:
        """Take in the lines of this fingerprint; the number of bytes that are whole lines."""
        lines, size = _read_lines(path) if path.is_file() else ([], 0)
        self._lines: list[Line] = []
        self._answered: set[int] = set()
        if lines and lines[0].get("fingerprint") == self.fingerprint:
            for line in lines[1:]:
                self._note(line)
        return size

    def _note(self, line: Line) -> None:
        self._lines.append(line)
        if line["kind"] != "preference":
            return
        pair = line["pair"]
        if pair >= len(self.pairs) or line["episodes"] != self.pairs[pair].tolist():
            raise MisodiceError(
                f"{self.path}: pair {pair} is of episodes {line['episodes']}, which is not what this run sampled; "
                "the file was edited: delete it and label again"
            )
        self._answered.add(pair)

    def _renew(self, entered: ExitStack) -> None:
        say = console().print
        found = self._found_fingerprint()
        if found is not None and found != self.fingerprint:
            os.replace(self.path, self._aside(found))
            say(f"{self.path}: of other data or another labeller; kept as {self._aside(found).name}, beginning anew")
        kept = self._aside(self.fingerprint)
        if found != self.fingerprint and kept.is_file():
            os.replace(kept, self.path)
            say(f"{self.path}: going on with {kept.name}, which this data and labeller made before")
        size = self._read(self.path)
        # Not buffered: what `append` has written is in the system's hands when it returns.
        self._stream = entered.enter_context(self.path.open("ab", buffering=0))
        self._stream.truncate(size)
        if size == 0:
            header = {"format": FORMAT, "version": VERSION, "fingerprint": self.fingerprint}
            made_by = {} if self._made_by is None else {"made_by": self._made_by}
            self.append({"kind": "header", **header, "n_pairs": len(self.pairs), **made_by})
            self._lines.clear()
        elif self.path.read_bytes()[-1:] != b"\n":
            self._stream.write(b"\n")


def _read_lines(path: Path) -> tuple[list[Line], int]:
    """The lines and how many bytes they fill: a last one that is torn belongs to neither."""
    content = path.read_bytes()
    *whole, last = content.split(b"\n")
    lines = [_parse(path, number, text) for number, text in enumerate(whole, 1)]
    if last:
        try:
            lines.append(_parse(path, len(lines) + 1, last))
        except MisodiceError:
            return lines, len(content) - len(last)
    return lines, len(content)


def _parse(path: Path, number: int, text: bytes) -> Line:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise MisodiceError(
            f"{path}: line {number} is no JSON ({error}); restore the file, or delete that line to have it asked again"
        ) from error
    if not isinstance(line, dict) or "kind" not in line:
        raise MisodiceError(f"{path}: line {number}: expected an object with a 'kind'; this is no {FORMAT} file")
    for name, words, holds in FIELDS.get(line["kind"], ()):
        if name not in line or not holds(line[name]):
            raise MisodiceError(
                f"{path}: line {number}, a {line['kind']}: found {name} {line.get(name, 'missing')!r}, expected "
                f"{words}; the file was edited: restore it, or delete that line to have it asked again"
            )
    return line


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_index(each) for each in value)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_answer(value: Any) -> bool:
    return isinstance(value, str) and value in CODES


Field = tuple[str, str, Callable[[Any], bool]]
PAIR: Field = ("pair", "the number of a pair", _is_index)
EPISODES: Field = ("episodes", "two numbers of episodes", _is_pair)
FIELDS: dict[str, tuple[Field, ...]] = {
    "preference": (PAIR, EPISODES, ("answer", "first, second or tie", _is_answer)),
    "left_out": (PAIR, EPISODES),
    "reply": (
        PAIR,
        ("order", "forward or swapped", lambda value: value in ("forward", "swapped")),
        ("request", "a text", lambda value: isinstance(value, str)),
        ("answer", "first, second, tie or null", lambda value: value is None or _is_answer(value)),
        ("final", "true or false", lambda value: isinstance(value, bool)),
        ("cost", "a number or null", lambda value: value is None or isinstance(value, (int, float))),
    ),
}
"""What the lines must have that something is computed from: name, what is expected in words, whether a value is it."""


def _check_header(path: Path, header: Line) -> None:
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise MisodiceError(
            f"{path}: found format {header.get('format')!r}, version {header.get('version')!r}, expected {FORMAT!r}, "
            f"version {VERSION}; move the file away, or use the misodice that made it"
        )
    if not isinstance(header.get("fingerprint"), str):
        raise MisodiceError(
            f"{path}: line 1, the header: found fingerprint {header.get('fingerprint')!r}, expected a text; the file "
            "was edited: restore it, or move it away to label again"
        )


def _position_consistency(lines: Sequence[Line]) -> float | None:
    orders: dict[int, dict[str, str]] = {}
    for line in lines:
        if line["kind"] == "reply" and line["answer"] is not None:
            orders.setdefault(line["pair"], {})[line["order"]] = line["answer"]
    alike = list(_alike(orders))
    return float(np.mean(alike)) if alike else None


def _alike(orders: dict[int, dict[str, str]]) -> Iterator[bool]:
    for given in orders.values():
        if len(given) == 2:
            yield given["forward"] == OPPOSITE[given["swapped"]]


OPPOSITE: dict[str, Answer] = {"first": "second", "second": "first", "tie": "tie"}
"""What an answer given with the two episodes exchanged says of the pair as it is."""
