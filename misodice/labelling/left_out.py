"""Pairs that a run goes on without, since asking for them failed: they have no answer, and may be asked again."""

from __future__ import annotations

from collections.abc import Sequence

from misodice.data.preferences import Line


def left_out(lines: Sequence[Line]) -> dict[int, str]:
    """Why each pair is left out that has no answer."""
    found: dict[int, str] = {}
    for line in lines:
        if line["kind"] == "left_out":
            found[line["pair"]] = str(line["problem"])
        elif line["kind"] == "preference":
            found.pop(line["pair"], None)
    return found


def left_out_line(pair: int, episodes: list[int], problem: str) -> Line:
    """The line that says so.

    Args:
        pair: its index.
        episodes: the two indices of episodes.
        problem: why, in words that are counted.
    """
    return {"kind": "left_out", "pair": pair, "episodes": episodes, "problem": problem}
