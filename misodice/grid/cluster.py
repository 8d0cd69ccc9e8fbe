"""Ray, on this machine or on a cluster."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from rich.console import Console

from misodice.errors import MisodiceError
from misodice.grid.grid import Grid

LONGEST_FOLDER = 35
"""Bytes of the path of a temporary folder: Ray's sockets lie 70 further, and a system takes 107 in all."""
SHORT_FOLDER = Path("/tmp")
OF_RAY = ("RAY_TMPDIR", "TMPDIR")
"""Variables by which Ray chooses its temporary folder, the first that is set."""


def start_ray(grid: Grid, address: str | None, console: Console) -> Any:
    """The module `ray`, connected.

    Args:
        grid: says what one cell needs.
        address: of a cluster to join; None starts Ray on this machine.
        console: gets one line where another temporary folder is taken.

    Raises:
        MisodiceError: Ray is missing, does not start, cannot be joined, or has too little for one cell.
    """
    try:
        import ray
    except ImportError as error:
        raise MisodiceError("misodice benchmark needs ray: pip install 'misodice[benchmark]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Cells are the work, not something beside it: Ray would give them the lowest priority.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # run_cell hides the accelerators itself where a cell asks for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        try:
            _knock(address)
            ray.init(address=address, **quiet)
        except OSError as error:  # ConnectionError where `auto` finds none
            raise MisodiceError(
                f"--address: cannot join a Ray cluster at {address} ({error}); begin one with `ray start --head`, and "
                "set RAY_AUTH_MODE and the token as they are there"
            ) from error
        return ray
    try:
        # Nothing goes through the object store: cells hand over files.
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            _temp_dir=_folder(console),
            **quiet,
        )
    except Exception as error:  # Ray has no narrower class for it
        ray.shutdown()
        raise MisodiceError(
            f"Ray does not start on this machine ({error}); it gives itself 30 seconds, so on a busy machine "
            "the same command later goes on from here"
        ) from error
    for what, need in (("CPU", grid.num_cpus), ("GPU", grid.num_gpus)):
        found = ray.cluster_resources().get(what, 0)
        if need > found:
            ray.shutdown()
            raise MisodiceError(
                f"grid {grid.name}: num_{what.lower()}s is {need} for one cell, but this machine has {found:g}; lower "
                "it or join a cluster with --address"
            )
    return ray


def _folder(console: Console) -> str | None:
    """Where Ray puts sockets and logs; None is its own choice."""
    name = next((each for each in OF_RAY if os.environ.get(each)), None)
    if name is None or os.name != "posix":
        return None
    folder = Path(os.environ[name])
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        why = "is too long a path for Ray's sockets"
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = "is no folder that can be written"
    else:
        return None
    own = SHORT_FOLDER / f"ray-{os.getuid()}"
    console.print(f"{name}: {folder} {why}; Ray's temporary files go to {own}")
    return str(own)


def _knock(address: str) -> None:
    """Raises OSError where nothing listens: Ray itself would try for ten minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=30).close()
