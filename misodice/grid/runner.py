"""`misodice benchmark`: the cells of a grid on Ray, on this machine or a cluster."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from misodice.callbacks.stopping import sigterm_as_ctrl_c
from misodice.grid.board import Board, Seen
from misodice.grid.cell import Cell
from misodice.grid.cluster import start_ray
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
    ray = start_ray(grid, address, board.console)
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
