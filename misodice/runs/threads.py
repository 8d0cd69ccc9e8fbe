"""How the threads of a computation wait for each other."""

from __future__ import annotations

import os

SPINS = 10_000
"""Looks at the clock of a thread that waits, some tenths of a millisecond."""


def wait_briefly() -> None:
    """Let a thread that waits for another one give its core away soon; torch must not be imported yet.

    After each layer the threads of a CPU wait for the last of them. GNU's OpenMP, which torch brings, lets them look
    300,000 times whether it is there, some milliseconds, before they sleep. On a core that another process wants, the
    last one then waits for those that only look. The user's own OMP_WAIT_POLICY or GOMP_SPINCOUNT stays as it is.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
