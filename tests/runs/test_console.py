"""Printing never raises, and cuts nothing off."""

import io
import subprocess
import sys

import pytest

from misodice.runs.console import LEAST_WIDTH, WIDTH_OF_FILES, Table, console

SAYS = """
from misodice.runs.console import Table, console, keep_printing
keep_printing()
table = Table("return", title="τ")
table.add_row("1.0 ± 0.5")
for _ in range(2000):
    console().print(table)
console().print("done –", "[zerg]")
open("ended", "w").close()
"""


def test_what_the_encoding_lacks_becomes_a_question_mark(monkeypatch):
    for encoding in ("latin-1", "ascii", "cp1252"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        table = Table("Kendall τ")
        table.add_row("–")
        console().print(table)
        console().print("[zerg] 1 ± 2")
        sys.stdout.flush()
        said = raw.getvalue().decode(encoding)
        assert "Kendall ?" in said
        assert "[zerg] 1 " in said, "names with brackets are no markup"


def test_a_table_cuts_no_name_on_a_narrow_terminal():
    printed = io.StringIO()
    table = Table("cell", "state")
    name = "zerg_10_vs_11.hidden_128/misodice_with_a_long_name/seed_0"
    table.add_row(name, "to do")
    narrow = console(file=printed)
    narrow.width = 40
    narrow.print(table)
    letters = "".join(line.split("│")[1].strip() for line in printed.getvalue().splitlines() if "│" in line)
    assert name in letters
    assert "…" not in printed.getvalue()


def test_a_file_is_wider_than_a_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console(file=io.StringIO()).width == WIDTH_OF_FILES
    for given, width in (
        ("50", 50),
        ("0", LEAST_WIDTH),
        ("5", LEAST_WIDTH),
        ("abc", WIDTH_OF_FILES),
        ("", WIDTH_OF_FILES),
    ):
        monkeypatch.setenv("COLUMNS", given)
        assert console(file=io.StringIO()).width == width


@pytest.mark.parametrize("output", ["| head -1", "> /dev/full", ">&-", "<&- >&- 2>&-"])
def test_a_lost_output_ends_no_work(tmp_path, output):
    command = f"{sys.executable} -c '{SAYS}' {output}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "ended").exists()
