"""`misodice report`: tables, figures and a page from any folder of runs."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.text import Text

from misodice.errors import MisodiceError
from misodice.report.aggregates import aggregate_csv, aggregate_table
from misodice.report.groups import sort_runs
from misodice.report.label_quality import label_table
from misodice.report.page import make_sections, render
from misodice.report.runs import Problem, read_runs
from misodice.report.tables import Table
from misodice.runs.console import Table as ScreenTable, console
from misodice.runs.files import write_text
from misodice.runs.pictures import check_matplotlib

TOLD = 5
"""Runs that were left out and have a line of their own on the terminal."""
OWN = "misodice"
"""The method that is compared with the others unless another one is named."""


def report(runs: str | list[str], output: str, method: str) -> None:
    """Write the report and print its main tables (see `commands.report_command`).

    Raises:
        MisodiceError: nothing under `runs` is a run, a package is missing, or `output` cannot be written.
    """
    for package in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(package) is None:
            raise MisodiceError(f"misodice report needs {package}: pip install 'misodice[report]'")
    check_matplotlib()
    _check_folder(Path(output))
    roots = [Path(root) for root in ([runs] if isinstance(runs, str) else runs)]
    found, problems = read_runs(roots)
    known = sorted({run.method for run in found})
    if method not in (OWN, *known):
        raise MisodiceError(f"method: found {method!r}, expected one that these runs have: {', '.join(known)}")
    worlds, repeated = sort_runs(found)
    problems += repeated
    sections = make_sections(worlds, method)
    folder = Path(output)
    for section in sections:
        for table in section.tables:
            for ending, text in (("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())):
                write_text(folder / "tables" / f"{table.name}.{ending}", text)
        if section.aggregates:
            name = folder / "tables" / f"{section.anchor}_over_tasks"
            write_text(name.with_suffix(".md"), aggregate_table(section.aggregates, method))
            write_text(name.with_suffix(".csv"), aggregate_csv(section.aggregates, method))
        if section.labels:
            write_text(folder / "tables" / f"{section.anchor}_labels.md", label_table(section.labels))
        for picture in section.pictures:
            write_text(folder / "figures" / f"{picture.name}.svg", picture.svg)
    # Last, so that a page never speaks of files that are not there.
    write_text(folder / "index.html", render(sections, problems, roots, method))
    say = console()
    for section in sections:
        if section.main.tables:
            _print(section.main.tables[0], section.title, say)
    if not problems:
        say.print("left out: nothing")
    for problem in problems[:TOLD]:
        say.print(f"left out: {problem.what}: {problem.state}, {problem.reason}")
    if len(problems) > TOLD:
        say.print(f"left out: {len(problems) - TOLD} more ({_count(problems)} in all); the page lists them")
    say.print(f"written: {folder / 'index.html'}")


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds a page of somebody else."""
    page = folder / "index.html"
    if folder.exists() and not folder.is_dir():
        raise MisodiceError(f"output: {folder} is a file, expected a folder; name another one")
    if page.is_file() and "<h1>misodice report</h1>" not in page.read_text(encoding="utf-8", errors="replace"):
        raise MisodiceError(f"output: {page} is no report of misodice and is not replaced; name another folder")


def _print(table: Table, title: str, console: Console) -> None:
    """Methods down and tasks across, four at a time, which fits a terminal; the paper's values are on the page."""
    lines = [line for line in table.lines if not line.paper]
    for start in range(0, len(lines), 4):
        part = lines[start : start + 4]
        shown = ScreenTable(title=f"{title}. {table.caption}")
        shown.add_column("")
        for line in part:
            shown.add_column(line.task, justify="right")
        entries = [zip(table.entries(line), table.entries(line, "*{}*"), strict=True) for line in part]
        columns = [[Text(entry, "bold" if entry != marked else "") for entry, marked in each] for each in entries]
        for index, name in enumerate(table.header[1:]):
            shown.add_row(name, *(column[index] for column in columns))
        console.print(shown)


def _count(problems: list[Problem]) -> str:
    counts = Counter(problem.state for problem in problems)
    return ", ".join(f"{n} {state}" for state, n in counts.items())
