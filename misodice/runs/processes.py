"""Processes that end with what they have started, on every platform."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

CAN_INHERIT = os.name == "posix"
"""Whether a process can be given an open connection. Where it cannot, work stays in one process."""


def end_group(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill a process that was started with `start_new_session`, and what it has started itself.

    Windows has no such groups: there it alone is killed, and `end_with_parent` ends its own children.
    """
    if not hasattr(os, "killpg"):
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def end_own_group() -> None:
    """Kill this process and its group."""
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
