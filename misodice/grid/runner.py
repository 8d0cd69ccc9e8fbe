"""`misodice benchmark`: the cells of a grid on Ray, on this machine or a cluster."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from misodice.callbacks.stopping import sigterm_as_ctrl_c
from misodice.errors import MisodiceError
from misodice.grid.board import Board, Seen
from misodice.grid.cell import Cell
from misodice.grid.grid import Grid, read_grid, write_cells
from misodice.grid.work import Outcome, run_cell
from misodice.runs.configs import find_config
from misodice.runs.console import Table, console
from misodice.runs.lock import alone_in

TRIES = 3
"""Of a cell that is killed; one that fails by itself would fail again."""


def benchmark(path: Path, root: Path, address: str | None, dry_run: bool) -> int:
    """Run the cells that are not done.

    Args:
        path: of the grid's file, or the name of a shipped one.
        root: results go to <root>/<name of the grid>.
        address: of a Ray cluster to join; None starts Ray on this machine.
        dry_run: list the cells and how far each is, and do nothing else.

    Returns:
        Exit status: 0 where all cells are done, 1 where some failed, 130 after Ctrl-C.

    Raises:
        MisodiceError: the grid is bad, Ray is missing or cannot give what a cell needs, or another process is at this
            grid.
    """
    path = find_config(str(path), "--grid")
    grid = read_grid(path)
    cells = grid.cells(path.parent, root.resolve())
    say = console()
    states = {cell.name: cell.state() for cell in cells}
    if dry_run:
        table = Table("cell", "state", title=f"{grid.name}: {len(cells)} cells, {_count(states)}")
        for name, state in states.items():
            table.add_row(name, state)
        say.print(table)
        return 0
    write_cells(cells)
    todo = [cell for cell in cells if states[cell.name] != "done"]
    if len(todo) < len(cells):
        say.print(f"{len(cells) - len(todo)} of {len(cells)} cells are done and not run again")
    board = Board(grid.name, cells, say)
    board.seen |= {cell.name: Seen("done") for cell in cells if cell not in todo}
    if todo:
        taken = f"{cells[0].home}: another `misodice benchmark` is at this grid; wait for it"
        try:
            with alone_in(cells[0].home, taken, say):
                _run(grid, todo, board, address)
        except KeyboardInterrupt:
            say.print("misodice: interrupted; the same command goes on from here")
            return 130
    failures = board.failures()
    say.print(f"{len(cells) - failures} of {len(cells)} cells are done: {cells[0].home}")
    return 1 if failures else 0


def _count(states: dict[str, Any]) -> str:
    kinds = list(states.values())
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("done", "failed", "to do") if kind in kinds)


def _run(grid: Grid, todo: list[Cell], board: Board, address: str | None) -> None:
    for cell in todo:
        cell.forget_running()  # of a command that was killed
    ray = _start_ray(grid, address)
    task = ray.remote(num_cpus=grid.num_cpus, num_gpus=grid.num_gpus, max_retries=0)(run_cell)
    where = Path.cwd()

    def begin(cell: Cell, tries: int) -> tuple[Any, Cell]:
        board.seen[cell.name] = Seen(tries=tries)
        return task.remote(cell, tries, where, grid.num_cpus, grid.num_gpus), cell

    under_way: dict[Any, Cell] = {}
    try:
        # Again, though `main` did so: Ray has put its own handler there.
        with board.live(), sigterm_as_ctrl_c():
            under_way |= dict(begin(cell, 1) for cell in todo)
            while under_way:
                ready, _ = ray.wait(list(under_way), timeout=1.0)
                for reference in ready:
                    cell = under_way.pop(reference)
                    outcome, tries = _outcome(ray, reference), board.seen[cell.name].tries
                    if outcome.status == "killed" and tries < TRIES:
                        under_way |= dict([begin(cell, tries + 1)])
                        continue
                    if outcome.status == "killed":
                        outcome = Outcome("failed", f"{outcome.reason}, {tries} times")
                    _end(cell, outcome, board)
                _look(under_way.values(), board)
    finally:
        for reference in under_way:
            ray.cancel(reference, force=True)
        ray.shutdown()
        for cell in todo:
            cell.forget_running()


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # such as a full disk
        return Outcome("failed", f"{type(error.cause).__name__}: {error.cause}")
    except ray.exceptions.RayError as error:
        return Outcome("killed", f"its worker died ({type(error).__name__})")
    return outcome


def _end(cell: Cell, outcome: Outcome, board: Board) -> None:
    seen = board.seen[cell.name]
    seen.state, seen.reason = ("done", None) if outcome.status == "done" else ("failed", outcome.reason)
    if seen.state == "failed":
        with suppress(OSError):  # a full disk may be what it failed of; the table at the end tells it
            cell.write("failed", seen.reason, seen.tries)
    board.ended(cell)


def _look(cells: Any, board: Board) -> None:
    """Which of the cells that Ray has are running."""
    for cell in cells:
        seen, record = board.seen[cell.name], cell.record()
        if seen.state == "waiting" and record and record["status"] == "running" and record["tries"] == seen.tries:
            seen.state, seen.since = "running", (cell.folder / "cell.json").stat().st_mtime


def _knock(address: str) -> None:
    """Raises OSError where nothing listens: Ray itself would try for ten minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=30).close()


def _start_ray(grid: Grid, address: str | None) -> Any:
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
        ray.init(address="local", include_dashboard=False, object_store_memory=100 * 2**20, **quiet)
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
