"""How the threads of a computation wait for each other."""

from __future__ import annotations

import os

SPINS = 3_000
"""Looks of a thread that waits. With 1,000 an idle machine is slower; with 10,000 a busy one gains little."""


def wait_briefly() -> None:
    """Let a thread that waits for another one give its core away soon; torch must not be imported yet.

    After each layer the threads of a CPU wait for the last of them. GNU's OpenMP, which torch brings, lets them look
    300,000 times whether it is there, some milliseconds, before they sleep. On a core that another process wants, the
    last one then waits for those that only look. The user's own OMP_WAIT_POLICY or GOMP_SPINCOUNT stays as it is.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
