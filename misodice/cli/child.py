"""`python -m misodice.cli.child fit …` is `misodice fit …` that ends with whoever started it.

A cell is a process of its own, not a function in a Ray worker: what it prints is its log, its exit status says how it
ended, one that the kernel kills leaves the worker alive to say so, and Lightning can start it anew for several devices.
"""

from __future__ import annotations

import os
import sys
import threading

from misodice.cli.main import main
from misodice.runs.processes import end_own_group


def end_with_parent() -> None:
    """Kill this process group once the parent's end of stdin is closed, however the parent ended.

    Nothing is lost by that: every file of a run is written whole or not at all.
    """

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read: Python would wait for it at its end
        end_own_group()

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    raise SystemExit(main())
