"""matplotlib where other work has set a backend that it does not have."""

import subprocess
import sys

import pytest

from misodice.errors import MisodiceError
from misodice.runs.pictures import check_matplotlib, new_figure


def test_a_figure_needs_no_screen(tmp_path):
    new_figure(3, 2).savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def test_an_unknown_backend_is_named():
    code = "from misodice.runs.pictures import check_matplotlib\ncheck_matplotlib()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"MPLBACKEND": "nope"}, capture_output=True, text=True, check=False
    )
    assert "matplotlib does not start" in done.stderr.splitlines()[-1]
    assert "unset MPLBACKEND, which is 'nope'" in done.stderr.splitlines()[-1]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MisodiceError, match="pip install 'misodice"):
        check_matplotlib()
