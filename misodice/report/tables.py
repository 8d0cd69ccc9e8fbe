"""Tables as the paper gives them: tasks down, methods across, mean ± standard deviation over seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from misodice.report.groups import METHODS, Row, method_order
from misodice.report.paper import paper_values
from misodice.report.statistics import mean_and_std

TITLES = {"return": "Return", "win_rate": "Win rate (%)", "normalised_score": "Normalised score"}
NAMES = dict(zip(METHODS, ("BC β=0", "BC β=0.5", "BC β=1", "OMAPL", "INDD", "MARL-SL", "VDN", "MisoDICE"), strict=True))
"""How the paper heads its columns."""


@dataclass(frozen=True)
class Cell:
    """One entry; `std` is None for a single seed, `seeds` is None for the paper's."""

    mean: float
    std: float | None
    seeds: int | None
    decimals: int
    best: bool = False

    def text(self, seeds: int) -> str:
        """As written where most entries have `seeds` seeds: others say how many they have."""
        spread = "" if self.std is None else f" ± {self.std:.{self.decimals}f}"
        number = "" if self.seeds in (None, seeds) else f" ({self.seeds})"
        return f"{self.mean:.{self.decimals}f}{spread}{number}"


@dataclass(frozen=True)
class Line:
    """A row of a table: whose it is ("" for ours), and its cells by column."""

    task: str
    setting: str
    paper: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """One metric of some rows, in any of the formats.

    Args:
        name: of its files, without the ending.
        title: its heading.
        lines: from the top.
        method: the one method of a study, whose settings then stand across as in the paper; else methods do.
    """

    name: str
    title: str
    lines: list[Line]
    method: str | None = None

    @property
    def columns(self) -> list[str]:
        found = [column for line in self.lines for column in line.cells]
        return method_order(found) if self.method is None else list(dict.fromkeys(found))

    @property
    def seeds(self) -> int:
        """The number of seeds that most entries have."""
        numbers = [cell.seeds for line in self.lines for cell in line.cells.values() if cell.seeds]
        return max(set(numbers), key=lambda n: (numbers.count(n), n))

    @property
    def has_setting(self) -> bool:
        return any(line.setting for line in self.lines)

    @property
    def caption(self) -> str:
        spread = f"mean ± standard deviation over {self.seeds} seeds" if self.seeds > 1 else "one seed"
        others = {cell.seeds for line in self.lines for cell in line.cells.values() if cell.seeds} - {self.seeds}
        return f"{self.title}: {spread}{'; (n): over n seeds' if others else ''}."

    @property
    def header(self) -> list[str]:
        return [
            "task",
            *(["setting"] if self.has_setting else []),
            *(NAMES.get(column, column) for column in self.columns),
        ]

    def heads(self, line: Line) -> list[str]:
        """What stands before the entries of a line."""
        return [line.paper or line.task, line.setting] if self.has_setting else [line.paper or line.task]

    def entries(self, line: Line, bold: str = "{}") -> list[str]:
        """What stands in each column; the best of ours in the form `bold`."""
        cells = [line.cells.get(column) for column in self.columns]
        return ["–" if c is None else (bold if c.best else "{}").format(c.text(self.seeds)) for c in cells]

    def markdown(self) -> str:
        rows = ([*self.heads(line), *self.entries(line, "**{}**")] for line in self.lines)
        return markdown_table(self.caption, [self.header, *rows])

    def csv(self) -> str:
        """One line an entry, in full precision."""
        rows: list[list[Any]] = [["task", "setting", "paper", "method", "mean", "std", "seeds"]]
        for line in self.lines:
            for column, cell in line.cells.items():
                setting, method = (line.setting, column) if self.method is None else (column, self.method)
                rows.append([line.task, setting, line.paper, method, cell.mean, cell.std, cell.seeds])
        return csv_table(rows)

    def latex(self) -> str:
        rows = [[*self.heads(line), *self.entries(line, r"\textbf{{{}}}")] for line in self.lines]
        body = "".join(" & ".join(map(_escape, row)) + " \\\\\n" for row in rows)
        head = " & ".join(map(_escape, self.header))
        columns = "l" * (len(self.header) - len(self.columns)) + "r" * len(self.columns)
        return f"% {self.caption}\n\\begin{{tabular}}{{{columns}}}\n{head} \\\\ \\hline\n{body}\\end{{tabular}}\n"


def markdown_table(caption: str, rows: Sequence[Sequence[str]]) -> str:
    """`rows`, the header first, below `caption`."""
    header, *others = rows
    lines = (header, ["---"] * len(header), *others)
    return f"{caption}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def csv_table(rows: Sequence[Sequence[Any]]) -> str:
    """`rows`, the header first; None is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _escape(text: str) -> str:
    signs = {
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "β": r"$\beta$",
        "α": r"$\alpha$",
        "–": "--",
        "±": r"$\pm$",
    }
    return "".join(signs.get(sign, sign) for sign in text)


def make_tables(name: str, rows: Sequence[Row]) -> list[Table]:
    """A table for each metric that any of the rows has, the paper's values in lines of their own beneath ours."""
    tables = []
    methods = {method for row in rows for method in row.groups}
    across = methods.pop() if len(methods) == 1 and any(row.setting for row in rows) else None
    for metric, title in TITLES.items():
        lines = [line for row in rows for line in _lines(row, metric)]
        if lines and across is None:
            tables.append(Table(f"{name}_{metric}", title, lines))
        elif lines:
            tables.append(
                Table(f"{name}_{metric}", f"{title} of {NAMES.get(str(across), across)}", _merged(lines), across)
            )
    return tables


def _merged(lines: Sequence[Line]) -> list[Line]:
    """One line for all settings of a task and a source."""
    merged: dict[tuple[str, str], dict[str, Cell]] = {}
    for line in lines:
        (cell,) = line.cells.values()
        merged.setdefault((line.task, line.paper), {})[line.setting] = cell
    return [
        Line(task, "", paper, cells if paper else _mark_best(cells)) for (task, paper), cells in sorted(merged.items())
    ]


def _mark_best(cells: dict[str, Cell]) -> dict[str, Cell]:
    best = max(cell.mean for cell in cells.values())
    return {column: replace(cell, best=cell.mean == best and len(cells) > 1) for column, cell in cells.items()}


def _lines(row: Row, metric: str) -> list[Line]:
    scale = 100.0 if metric == "win_rate" else 1.0
    values = {m: [scale * value for value in group.values(metric)] for m, group in row.groups.items()}
    ours = {method: (*mean_and_std(v), len(v)) for method, v in values.items() if v}
    if not ours:
        return []
    decimals = 1 if metric == "win_rate" or any(abs(mean) >= 10 for mean, _, _ in ours.values()) else 2
    cells = {method: Cell(mean, std, n, decimals) for method, (mean, std, n) in ours.items()}
    lines = [Line(row.task, row.text, "", _mark_best(cells))]
    labels, found = paper_values(row, metric)
    if found:
        table = next(iter(found.values())).table
        printed = {method: Cell(value.mean, value.std, None, 1) for method, value in found.items()}
        lines.append(Line(row.task, row.text, f"paper (Table {table}, {labels})", printed))
    return lines
