"""Seconds of a whole `misodice fit` of the demo, for each stage and in all; a part of `make bench`."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import h5py
from against import PHASE_2, Side, checkouts, in_turn, ratio, told

from misodice.envs import SMAX
from misodice.rollout.collect import collect

CONFIG = "smacv2_zerg"
STAGES = ("preference", *PHASE_2)
REST = "start-up, data, labels, end"


def demo_file(folder: Path, given: str | None, games: bool) -> Path:
    """The demo's episodes file.

    Args:
        folder: where files are made.
        given: an episodes file to take in place of one made anew.
        games: whether the policy is to be rolled out; without, the copy names an engine that nothing can be played on.
    """
    path = folder / "demo.h5"
    if given is None:
        engine = SMAX("zerg_5_vs_5")
        collect(engine, engine.default_sources(), path, seed=0)
    else:
        shutil.copy(given, path)
    if not games:
        with h5py.File(path, "r+") as file:
            file.attrs["env"] = json.dumps(json.loads(file.attrs["env"]) | {"engine": "none"})
    return path


def seconds_of(done: dict[str, Any]) -> dict[str, float]:
    """Of the stages (with validations, checkpoints and the pass over D_U), of the rest, and of all."""
    stages = {name: done["stages"][name]["seconds"] for name in STAGES}
    return {**stages, REST: done["seconds"] - sum(stages.values()), "all": done["seconds"]}


def whole_fit(options: Namespace, rounds: int) -> None:
    """The table of a whole `fit`, beside another checkout's where there is one."""
    with tempfile.TemporaryDirectory() as folder, checkouts(options.against) as sides:
        path = demo_file(Path(folder), options.fit_data, options.rollouts)
        arguments = ["--data.path", str(path), *options.fit_options.split()]
        results = in_turn(sides, CONFIG, arguments, options, rounds, options.threads, options.rollouts)
    threads = "threads as it chooses" if options.threads is None else f"{options.threads} thread(s)"
    games = "with rollouts" if options.rollouts else "without rollouts"
    print(f"\nconfigs/{CONFIG}.yaml, {games}, {threads}, {options.device}, {options.precision}", end="")
    print(f"; {rounds} round(s){told(options)}\n")
    columns = [[seconds_of(done) for done in side] for side in results]
    _print(sides, columns)


def _print(sides: list[Side], columns: list[list[dict[str, float]]]) -> None:
    alone = len(sides) == 1
    names = " | ".join(f"{side.name}, s" for side in reversed(sides))
    print(f"| fit | {names} |\n|---|---|" if alone else f"| fit | ratio | {names} |\n|---|---|---|---|")
    for row in columns[0][0]:
        theirs, ours = ([each[row] for each in side] for side in (columns[0], columns[-1]))
        cells = [ours] if alone else [ours, theirs]
        shown = " | ".join(f"{statistics.median(each):.1f}" for each in cells)
        print(f"| {row} | {shown} |" if alone else f"| {row} | {ratio(theirs, ours):.2f} | {shown} |", flush=True)
