"""The same `fit` with two checkouts in turn, each in a process of its own; a part of `make bench`.

The command line is what both have, version 0.1 (d3014f3) too. Both read one episodes file; each has its own shipped
config, and `StageClock` tells how long its stages trained.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stage_clock import FOLDER
from synthetic import SIZES, Size, synthetic

from misodice.data.episodes import EpisodesWriter

HERE = Path(__file__).resolve().parent.parent
BATCH, PAIRS = 512, 64
"""Transitions of a step, and pairs of a step of the preference stage."""
EPOCH_OF_PAIRS = 1800
"""Pairs of an epoch of the preference stage: the shipped configs ask 2000 and hold a tenth out."""
PHASE_2 = ("discriminator", "value", "policy")
MOST = 100_000
"""Transitions of a data set here: the paper's 1.2 million of MuJoCo would be read and checked for minutes."""


@dataclass(frozen=True)
class Side:
    """A checkout: its name in tables, and its folder."""

    name: str
    folder: Path

    @property
    def first_edition(self) -> bool:
        """Whether it is version 0.1, where `env` is no class."""
        return not (self.folder / "misodice" / "experiment.py").is_file()

    def fit(self, config: str, arguments: Sequence[str], threads: int | None, games: bool) -> dict[str, Any]:
        """Seconds of a whole `fit`, and what StageClock wrote of each stage.

        Args:
            config: name of a shipped config; this checkout's own is taken.
            arguments: further options, which both versions have.
            threads: of torch; None leaves it to misodice.
            games: whether the policy is rolled out. Without, the file must name no engine.
        """
        perf = HERE / "perf"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(self.folder), str(perf)])}
        if threads is not None:
            environment |= {"OMP_NUM_THREADS": str(threads)}
        with tempfile.TemporaryDirectory() as folder:
            environment |= {FOLDER: folder}
            command = [sys.executable, *(["-m", "misodice"] if games else [str(perf / "side.py")]), "fit"]
            command += ["--config", str(self.folder / "configs" / f"{config}.yaml"), "--run_dir", f"{folder}/run"]
            command += ["--trainer.callbacks", "stage_clock.StageClock", *arguments]
            if not self.first_edition:
                command += ["--env", "null"]
            if not games:
                command += ["--rollout.every_n_epochs", "0"]
            started = time.perf_counter()
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            seconds = time.perf_counter() - started
            if done.returncode:
                last = "\n".join((done.stderr or done.stdout).splitlines()[-15:])
                raise SystemExit(f"{self.name} ({self.folder}): `fit` ended with {done.returncode}:\n{last}")
            stages = {path.stem: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}
        return {"seconds": seconds, "stages": stages}


@contextmanager
def checkouts(against: str | None) -> Iterator[list[Side]]:
    """This checkout, and before it the one that it is held against.

    Args:
        against: a commit of this repository, or the folder of a checkout; None is none.
    """
    here = Side("here", HERE)
    if against is None:
        yield [here]
    elif (Path(against) / "misodice").is_dir():
        yield [Side(against, Path(against).resolve()), here]
    else:
        with tempfile.TemporaryDirectory() as folder:
            archive = subprocess.run(["git", "archive", against], cwd=HERE, capture_output=True)
            if archive.returncode:
                said = archive.stderr.decode(errors="replace").strip()
                raise SystemExit(f"--against {against}: no commit of {HERE} and no checkout's folder ({said})")
            subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
            yield [Side(against, Path(folder)), here]


def write_synthetic(size: Size, path: Path) -> None:
    """An episodes file of random numbers; every version reads it."""
    episodes = synthetic(size)
    with EpisodesWriter(path, episodes.header) as writer:
        for episode in episodes:
            writer.add(episode)


def rate(stage: dict[str, Any], items: int) -> float:
    """Items a second of a stage's training batches; the first epoch warms up."""
    epochs = stage["epochs"][1:] or stage["epochs"]
    return items * sum(epoch["steps"] for epoch in epochs) / sum(epoch["seconds"] for epoch in epochs)


def figures(done: dict[str, Any]) -> dict[str, float]:
    """Of one `fit`: samples/s of the stages of Phase 2, alone and together, and seconds of an epoch over the pairs."""
    stages = done["stages"]
    speeds = {name: rate(stages[name], BATCH) for name in PHASE_2}
    together = 1 / sum(1 / speed for speed in speeds.values())
    return {"preference": EPOCH_OF_PAIRS / rate(stages["preference"], PAIRS), **speeds, "all three": together}


def in_turn(
    sides: Sequence[Side],
    config: str,
    arguments: Sequence[str],
    options: Namespace,
    rounds: int,
    threads: int | None,
    games: bool = False,
) -> list[list[dict[str, Any]]]:
    """What `Side.fit` says, for each side a list of rounds; each round begins with another side than the one before.

    The last side is this checkout: it alone gets the options of --here.
    """
    device = "gpu" if options.device == "cuda" else options.device
    common = ["--trainer.accelerator", device, "--trainer.precision", options.precision, *arguments]
    results: list[list[dict[str, Any]]] = [[] for _ in sides]
    for number in range(rounds):
        order = list(enumerate(sides))
        for place, side in order if number % 2 == 0 else reversed(order):
            own = options.here.split() if side.name == "here" else []
            results[place].append(side.fit(config, [*common, *own], threads, games))
    return results


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """Of the first to the second, the median over the rounds: a slow minute lies in both parts of one round."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def told(options: Namespace) -> str:
    """What else a heading says: the options of one side alone."""
    return f"; here with {options.here}" if options.here else ""


def against(options: Namespace, rounds: int) -> None:
    """The table of stages: this checkout beside another."""
    with checkouts(options.against) as sides:
        there, here, threads = sides[0].name, sides[-1].name, options.threads or 1
        print(f"\n{threads} thread(s), {options.device}, {options.precision}; {rounds} round(s){told(options)}\n")
        print(f"| data | stage | ratio | {here} | {there} | unit |\n|---|---|---|---|---|---|", flush=True)
        for name in options.data:
            full = SIZES[name]
            size = replace(full, transitions=min(full.transitions, options.transitions))
            epochs = 1 + math.ceil(options.steps * BATCH / size.transitions)
            # A tenth of the pairs is held out: ten steps an epoch remain.
            arguments = ["--labels.n_pairs", str(round(10 * PAIRS / 0.9)), "--data.batch_size", str(BATCH)]
            arguments += [
                "--preference.pairs",
                str(PAIRS),
                "--data.k",
                str(max(1, size.transitions // size.steps // 6)),
            ]
            arguments += ["--trainer.max_epochs", str(epochs), "--trainer.limit_train_batches", str(options.steps)]
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{name}.h5"
                write_synthetic(size, path)
                arguments = ["--data.path", str(path), *arguments]
                results = in_turn(sides, size.config, arguments, options, rounds, threads)
            theirs, ours = ([figures(done) for done in side] for side in (results[0], results[-1]))
            for stage in ours[0]:
                one, other = [each[stage] for each in ours], [each[stage] for each in theirs]
                seconds = stage == "preference"
                faster = ratio(other, one) if seconds else ratio(one, other)
                unit = f"s an epoch of {EPOCH_OF_PAIRS:,} pairs" if seconds else "samples/s"
                shown = " | ".join(f"{statistics.median(each):,.{1 if seconds else 0}f}" for each in (one, other))
                print(f"| {name} | {stage} | {faster:.2f} | {shown} | {unit} |", flush=True)
    print("\nA sample is a transition as version 0.1 counted it: steps times the batch size of 512.")
