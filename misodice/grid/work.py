"""What a Ray worker does with a cell: start its process, wait, and say how it ended."""

from __future__ import annotations

import os
import platform
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import misodice
from misodice.grid.cell import Cell
from misodice.runs.console import console
from misodice.runs.lock import one_at_a_time
from misodice.runs.processes import end_group

PACKAGES = str(Path(misodice.__file__).parent.parent)
OF_A_LAUNCHER = re.compile(
    r"(SLURM|PMI|PMIX|OMPI|JSM|LSB|TORCHELASTIC)_\w+|(LOCAL_|GROUP_|NODE_)?RANK|(LOCAL_)?WORLD_SIZE|MASTER_(ADDR|PORT)"
)
"""Variables that tell a process its rank among others; they are of what started Ray, and not of a cell."""


@dataclass(frozen=True)
class Outcome:
    """How a cell's process ended; one that was killed may be tried again, one that failed would fail again."""

    status: Literal["done", "failed", "killed"]
    reason: str | None = None


def run_cell(cell: Cell, tries: int, where: Path, num_cpus: int, num_gpus: float) -> Outcome:
    """Run a cell to its end; cell.json says `running` meanwhile, and then how it ended, unless it was killed.

    Args:
        cell: which.
        tries: the number of this try, from 1.
        where: current folder of its process.
        num_cpus: threads of its training.
        num_gpus: 0 hides them all.
    """
    cell.write("running", None, tries)
    (cell.folder / "summary.json").unlink(missing_ok=True)
    # SMAX takes 20 s of a core to compile; machines of another kind cannot use what one compiled.
    compiled = str(cell.home / "shared" / f"jax-{platform.node()}")
    # One thread a core: cells that fight over cores are several times slower.
    inherited = {name: value for name, value in os.environ.items() if not OF_A_LAUNCHER.fullmatch(name)}
    environment = {"JAX_COMPILATION_CACHE_DIR": compiled} | inherited
    environment |= {"OMP_NUM_THREADS": str(num_cpus), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [PACKAGES, os.environ.get("PYTHONPATH")]))
    if not num_gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with cell.log.open("w" if tries == 1 else "a", encoding="utf-8", errors="replace") as log:
        begin = log.tell()
        status = _make_data(cell, log, environment, where) or _run(cell.fit, log, environment, where)
    outcome = _outcome(status, cell.log.read_bytes()[begin:].decode("utf-8", errors="replace"))
    if outcome.status != "killed":
        cell.write(outcome.status, outcome.reason, tries)
    return outcome


def _make_data(cell: Cell, log: IO[str], environment: dict[str, str], where: Path) -> int:
    if cell.data is None or cell.data.is_file():
        return 0
    with one_at_a_time(cell.data, f"{cell.data}: another cell is making it; waiting", console(file=log)):
        return 0 if cell.data.is_file() else _run(cell.collect, log, environment, where)


def _run(arguments: list[str], log: IO[str], environment: dict[str, str], where: Path) -> int:
    """Exit status of `misodice …`; negative where a signal ended it."""
    print(f"$ misodice {shlex.join(arguments)}", file=log, flush=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "misodice.cli.child", *arguments],
        stdin=subprocess.PIPE,  # closed by the kernel when this worker dies: see child.py
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=where,
        start_new_session=True,
    )
    try:
        return process.wait()
    finally:
        # What it started itself, and itself where a cancelled task ends here.
        end_group(process)


def _outcome(status: int, printed: str) -> Outcome:
    if status == 0:
        return Outcome("done")
    if status < 0 or status == 130:  # 130: a Ctrl-C that reached the cell alone
        killer = signal.Signals(-status).name if status < 0 else signal.SIGINT.name
        return Outcome("killed", f"killed by {killer}" + (" (out of memory?)" if killer == "SIGKILL" else ""))
    told = re.findall(r"^misodice: (.*)", printed, re.M)
    refused = re.findall(r"^error: (.*)", printed, re.M | re.S)  # an option that the command line does not have
    last = [line for line in printed.splitlines() if line.strip()][-1:]
    reason = (told or refused or last or [f"exit status {status}"])[-1]
    return Outcome("failed", " ".join(reason.split()))
