"""Waiting threads."""

import os
import platform
import subprocess
import sys

import pytest

from misodice.runs.threads import SPINS, wait_briefly


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, str(SPINS)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_the_user_s_word_counts(given, expected, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == expected


@pytest.mark.skipif(platform.system() != "Linux", reason="torch brings GNU's OpenMP on Linux alone")
def test_openmp_has_heard_of_it(tmp_path):
    """It reads its variables once, when torch loads it."""
    given = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in given}
    command = [sys.executable, "-m", "misodice", "info", str(tmp_path / "none.h5")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment | {"OMP_DISPLAY_ENV": "verbose"})
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr
