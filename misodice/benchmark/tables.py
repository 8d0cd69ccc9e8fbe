"""Tables as the paper gives them: tasks down, methods across, mean ± standard deviation over seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from misodice.benchmark.groups import METHODS, Row, method_order
from misodice.benchmark.paper import paper_values
from misodice.benchmark.statistics import mean_and_std

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
    """A row of a table: whose it is ("" for ours), and its cells by method."""

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
    """

    name: str
    title: str
    lines: list[Line]

    @property
    def methods(self) -> list[str]:
        return method_order(method for line in self.lines for method in line.cells)

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
        return f"{self.title}: {spread}; (n): of n seeds."

    @property
    def header(self) -> list[str]:
        return ["task", *(["setting"] if self.has_setting else []), *(NAMES.get(m, m) for m in self.methods)]

    def heads(self, line: Line) -> list[str]:
        """What stands before the entries of a line."""
        first = f"{line.task}, {line.paper}" if line.paper else line.task
        return [first, line.setting] if self.has_setting else [first]

    def entries(self, line: Line, bold: str = "{}") -> list[str]:
        """What stands under each method; the best of ours in the form `bold`."""
        cells = [line.cells.get(method) for method in self.methods]
        return ["–" if c is None else (bold if c.best else "{}").format(c.text(self.seeds)) for c in cells]

    def markdown(self) -> str:
        rows = [self.header, ["---"] * len(self.header)]
        rows += [[*self.heads(line), *self.entries(line, "**{}**")] for line in self.lines]
        return f"{self.caption}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def csv(self) -> str:
        """One line an entry, in full precision."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["task", "setting", "paper", "method", "mean", "std", "seeds"])
        for line in self.lines:
            for method, cell in line.cells.items():
                row = [line.task, line.setting, line.paper, method, cell.mean, cell.std, cell.seeds]
                writer.writerow(["" if value is None else value for value in row])
        return text.getvalue()

    def latex(self) -> str:
        rows = [[*self.heads(line), *self.entries(line, r"\textbf{{{}}}")] for line in self.lines]
        body = "".join(" & ".join(map(_escape, row)) + " \\\\\n" for row in rows)
        head = " & ".join(map(_escape, self.header))
        columns = "l" * (len(self.header) - len(self.methods)) + "r" * len(self.methods)
        return f"% {self.caption}\n\\begin{{tabular}}{{{columns}}}\n{head} \\\\ \\hline\n{body}\\end{{tabular}}\n"


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
    for metric, title in TITLES.items():
        lines = [line for row in rows for line in _lines(row, metric)]
        if lines:
            tables.append(Table(f"{name}_{metric}", title, lines))
    return tables


def _lines(row: Row, metric: str) -> list[Line]:
    scale = 100.0 if metric == "win_rate" else 1.0
    values = {m: [scale * value for value in group.values(metric)] for m, group in row.groups.items()}
    ours = {method: (*mean_and_std(v), len(v)) for method, v in values.items() if v}
    if not ours:
        return []
    best = max(mean for mean, _, _ in ours.values())
    decimals = 1 if metric == "win_rate" or any(abs(mean) >= 10 for mean, _, _ in ours.values()) else 2
    cells = {m: Cell(mean, std, n, decimals, mean == best and len(ours) > 1) for m, (mean, std, n) in ours.items()}
    lines = [Line(row.task, row.text, "", cells)]
    labels, found = paper_values(row, metric)
    if found:
        table = next(iter(found.values())).table
        printed = {method: Cell(value.mean, value.std, None, 1) for method, value in found.items()}
        lines.append(Line(row.task, row.text, f"paper's Table {table} ({labels})", printed))
    return lines
