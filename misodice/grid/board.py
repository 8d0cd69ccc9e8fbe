"""What a running benchmark shows: one live table of its cells; without a terminal a line for each that ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from misodice.grid.cell import Cell
from misodice.runs.console import Table

State = Literal["waiting", "running", "done", "failed"]
MARKS: dict[State, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("▸", "bold yellow"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
}
LINES = 8
"""Running cells that have a line of their own under the table."""
STAGES = ("preference", "discriminator", "value", "policy")


@dataclass
class Seen:
    """How far a cell is: since when it runs, in which try, why it failed."""

    state: State = "waiting"
    since: float = 0.0
    tries: int = 1
    reason: str | None = None


class Board:
    """The states of all cells, for the eye.

    Args:
        title: above the table.
        cells: in the order of the grid.
        console: where it is shown.
    """

    def __init__(self, title: str, cells: Sequence[Cell], console: Console) -> None:
        self.title, self.cells, self.console = title, cells, console
        self.seen = {cell.name: Seen() for cell in cells}
        self.started = time.time()

    def __rich__(self) -> RenderableType:
        return Group(self._counts(), self._table(), *self._running())

    def live(self) -> AbstractContextManager[Any]:
        """Show the table while the `with` block runs."""
        if not self.console.is_terminal:
            return nullcontext()
        return Live(self, console=self.console, refresh_per_second=1, vertical_overflow="crop")

    def ended(self, cell: Cell) -> None:
        """Say that a cell is done or failed where no table does."""
        seen = self.seen[cell.name]
        if not self.console.is_terminal:
            count = sum(each.state in ("done", "failed") for each in self.seen.values())
            what = seen.state if seen.reason is None else f"{seen.state}: {seen.reason}"
            took = _clock(time.time() - seen.since) if seen.since else "-"
            self.console.print(f"{count}/{len(self.seen)} {cell.name}: {what} ({took})", highlight=False)

    def failures(self) -> int:
        """Print the cells that failed, and why; how many there are."""
        failed = [cell for cell in self.cells if self.seen[cell.name].state == "failed"]
        if failed:
            table = Table("cell", "reason", "log", title=f"{len(failed)} of {len(self.cells)} cells failed")
            for cell in failed:
                table.add_row(cell.name, Text(self.seen[cell.name].reason or ""), Text(str(cell.log)))
            self.console.print(table)
        return len(failed)

    def _counts(self) -> Text:
        count = Counter(seen.state for seen in self.seen.values())
        told = ", ".join(f"{count[state]} {state}" for state in MARKS if count[state])
        return Text(f"{self.title}: {told}, {_clock(time.time() - self.started)}", style="bold")

    def _table(self) -> Table:
        table = Table()
        methods = list(dict.fromkeys(cell.method for cell in self.cells))
        for column in ("", *methods):
            table.add_column(column, no_wrap=True)
        rows: dict[str, dict[str, list[State]]] = {}
        for cell in self.cells:
            rows.setdefault(cell.row, {}).setdefault(cell.method, []).append(self.seen[cell.name].state)
        shown, hidden = self._that_fit(rows)
        for row in shown:
            table.add_row(row, *(_marks(rows[row].get(method, ())) for method in methods))
        if hidden:
            table.add_row(f"… {hidden} more", style="dim")
        return table

    def _that_fit(self, rows: dict[str, dict[str, list[State]]]) -> tuple[list[str], int]:
        """The rows that the terminal has lines for, those where something happens first; and how many are left out."""
        lines = max(self.console.height - LINES - 8, 5)
        order: list[set[State]] = [{"running"}, {"failed"}, {"waiting"}, {"done"}]

        def rank(row: str) -> int:
            states = {state for states in rows[row].values() for state in states}
            return next(place for place, wanted in enumerate(order) if states & wanted)

        chosen = set(sorted(rows, key=rank)[:lines])
        return [row for row in rows if row in chosen], len(rows) - len(chosen)

    def _running(self) -> Iterable[Text]:
        running = [cell for cell in self.cells if self.seen[cell.name].state == "running"]
        for cell in running[:LINES]:
            seen = self.seen[cell.name]
            again = f", try {seen.tries}" if seen.tries > 1 else ""
            took = _clock(time.time() - seen.since)
            yield Text(f"▸ {cell.name}: {_stage(cell, seen.since)}, {took}{again}", style="yellow")
        if len(running) > LINES:
            yield Text(f"… {len(running) - LINES} more running", style="dim")


def _marks(states: Iterable[State]) -> Text:
    return Text.assemble(*(MARKS[state] for state in states))


def _stage(cell: Cell, since: float) -> str:
    """The stage that a running cell wrote for last."""
    newest, at = "data and labels", since
    for stage in STAGES:
        for path in (cell.folder / stage / "metrics.csv", cell.folder / stage):
            if path.exists() and path.stat().st_mtime > at:
                newest, at = stage, path.stat().st_mtime
    return newest


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
