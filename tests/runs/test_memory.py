"""Memory that a step has freed stays the process's own."""

import platform
import subprocess
import sys

import pytest

from misodice.runs.memory import keep_freed_memory

FAULTS = """
import resource
import numpy as np
from misodice.runs.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        pieces = [np.ones(2**18) for _ in range(8)]  # 2 MiB each
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_was_freed_is_not_cleared_anew():
    """Counted: the pages that the kernel gives a process while it needs and frees the same memory again and again."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 20 * 512
    assert after < before / 20


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
