"""Locks between processes, also on disks that have none."""

import errno
import io
import subprocess
import sys

import filelock
import pytest

from misodice.errors import MisodiceError
from misodice.runs.console import console
from misodice.runs.lock import alone_in, one_at_a_time

HOLD = """
import sys
from pathlib import Path
from misodice.runs.console import console
from misodice.runs.lock import one_at_a_time
with one_at_a_time(Path(sys.argv[1]), "waiting", console()):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_waits_and_a_killed_one_leaves_nothing(tmp_path):
    first = hold(tmp_path / "x")
    second = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "x")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert second.stdout.readline() == "waiting\n"
    first.kill()
    assert second.stdout.readline() == "held\n"
    second.communicate("")
    first.communicate()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_gets_a_file_as_the_lock(tmp_path, monkeypatch, number):
    def refuse(self) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(filelock.FileLock, "_acquire", refuse)
    said = io.StringIO()
    first = alone_in(tmp_path, "taken", console(file=said))
    with first, pytest.raises(MisodiceError, match="taken"), alone_in(tmp_path, "taken", console(file=said)):
        pass
    assert "this disk has no locks (no locks here)" in said.getvalue()
    with alone_in(tmp_path, "taken", console(file=said)):
        pass


def test_another_failure_is_told(tmp_path, monkeypatch):
    def refuse(self) -> None:
        raise OSError(errno.EACCES, "not yours")

    monkeypatch.setattr(filelock.FileLock, "_acquire", refuse)
    with pytest.raises(OSError, match="not yours"), one_at_a_time(tmp_path / "x", "waiting", console()):
        pass
