"""Samples per second of each stage under Lightning beside a bare loop; a part of `make bench`.

Data of the paper's sizes, made of random numbers, in memory; the stage under Lightning with what a run has (progress
bar, log, callbacks) and the loops of `bare.py` take turns in one process a data set. Both treat memory and waiting
threads as a run does.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import statistics
import tempfile
import timeit
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from bare import Bare, Captured, now, shipped_preference
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from synthetic import SIZES, labelled_pairs, synthetic

from misodice.callbacks.clock import RunClock
from misodice.callbacks.compiling import Compile
from misodice.callbacks.progress import StageBar
from misodice.callbacks.stopping import SaveWhenStopped
from misodice.data.ranking import rank_episodes, top_k
from misodice.datamodules.experts import Experts
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.table import TransitionTable
from misodice.modules import Discriminator, Policy, Stage, Value
from misodice.runs.memory import keep_freed_memory
from misodice.runs.threads import wait_briefly

BATCH = 512


@dataclass(frozen=True)
class Line:
    """Of one stage: samples/s under Lightning, of the bare loop, of the captured one, FLOP of a sample, peak MB.

    captured is None where there is no GPU.
    """

    stage: str
    ours: float
    bare: float
    captured: float | None
    flops: float
    peak: float


class Timer(Callback):
    """Seconds from the first step's beginning to the last one's end."""

    def __init__(self, device: str) -> None:
        self.device = device

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = now(self.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds, self.steps = now(self.device) - self.started, trainer.global_step


def peak_memory(device: str) -> float:
    """MB that the process had at most: of the GPU, what torch took there."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train(name: str, options: argparse.Namespace, rounds: int, threads: int) -> list[Line]:
    """The lines of one data set."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    device = options.device
    warnings.filterwarnings("ignore")  # of Lightning, about what a run sets otherwise
    for quiet in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(quiet).setLevel(logging.ERROR)
    size = SIZES[name]
    episodes = synthetic(replace(size, transitions=min(size.transitions, options.transitions)))
    table = TransitionTable.of(episodes).on(torch.device(device))
    column = torch.ones(table.n_transitions, device=table.device)
    experts = Experts.of(top_k(rank_episodes(episodes, "return"), min(200, episodes.n_episodes // 3)), 0.1, 0)
    pairs = labelled_pairs(episodes, 2000)
    inputs = Inputs(table, {"log_ratio": column, "weight": column}, experts, pairs, BATCH, 0)
    stages: tuple[Stage, ...] = (shipped_preference(size.config), Discriminator(), Value(), Policy())
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for stage in stages:
            bare = Bare(table, stage, options.precision, pairs)
            captured = Captured(table, stage, options.precision, pairs) if device == "cuda" else None
            data = stage.datamodule(inputs)
            speeds = []
            for _ in range(rounds + 1):
                timer = Timer(device)
                trainer = _trainer(name, stage, timer, options, folder)
                trainer.fit(stage, datamodule=data)
                # Fewer steps than asked for where that is an epoch.
                loops = [bare] if captured is None else [bare, captured]
                seconds = [timer.seconds, *(loop.seconds(timer.steps) for loop in loops)]
                speeds.append([timer.steps * bare.samples / each for each in seconds])
            # The first round warms up.
            medians = [statistics.median(column) for column in zip(*speeds[1:], strict=True)]
            lines.append(
                Line(
                    stage=stage.name,
                    ours=medians[0],
                    bare=medians[1],
                    captured=None if captured is None else medians[2],
                    flops=bare.flops(),
                    peak=peak_memory(device),
                )
            )
    return lines


def _trainer(name: str, stage: Stage, timer: Timer, options: argparse.Namespace, folder: str) -> Trainer:
    mode = options.compile
    return Trainer(
        accelerator=options.device,
        devices=1,
        precision=options.precision,
        max_epochs=1,
        limit_train_batches=options.steps,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[
            StageBar(f"{name} {stage.name}", RunClock({}), Console(stderr=True)),
            SaveWhenStopped(Path(folder) / "-"),
            timer,
            *([] if mode is None else [Compile(None if mode == "default" else mode)]),
        ],
    )


def matrix_product(threads: int, device: str) -> float:
    """GFLOP/s of 2560×256 by 256×256 in float32."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2560, 256, device=device), torch.randn(256, 256, device=device)
    best = min(timeit.repeat(lambda: a @ b, number=20, repeat=20, timer=lambda: now(device))) / 20
    return 2 * a.shape[0] * 256 * 256 / best / 1e9


def together(lines: list[Line]) -> Line:
    """The three stages of Phase 2: a sample goes through each."""
    captured = [line.captured for line in lines]
    return Line(
        stage="all three",
        ours=1 / sum(1 / line.ours for line in lines),
        bare=1 / sum(1 / line.bare for line in lines),
        captured=None if None in captured else 1 / sum(1 / each for each in captured if each is not None),
        flops=sum(line.flops for line in lines),
        peak=max(line.peak for line in lines),
    )


def training(options: argparse.Namespace, rounds: int) -> None:
    """The table of stages."""
    threads = options.threads or 1
    wait_briefly()  # for the processes to come, which import torch after it
    peak_rate = matrix_product(threads, options.device)
    cuda = options.device == "cuda"
    where = torch.cuda.get_device_name() if cuda else f"{threads} thread(s)"
    print(f"\n256-wide matrix product: {peak_rate:,.0f} GFLOP/s, {where}; {options.precision}\n")
    more = ["ratio to captured", "captured bare loop"] if cuda else []
    head = ["data", "stage", "ratio", *more[:1], "samples/s", "bare loop", *more[1:], "GFLOP/s", "peak memory, MB"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for name in options.data:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            lines = alone.submit(train, name, options, rounds, threads).result()
        for line in [*lines, together(lines[1:])]:
            cells = [name, line.stage, f"{line.ours / line.bare:.2f}"]
            cells += [] if line.captured is None else [f"{line.ours / line.captured:.2f}"]
            cells += [f"{line.ours:,.0f}", f"{line.bare:,.0f}"]
            cells += [] if line.captured is None else [f"{line.captured:,.0f}"]
            print(f"| {' | '.join(cells)} | {line.ours * line.flops / 1e9:,.0f} | {line.peak:,.0f} |", flush=True)
    print("\nThe preference stage's sample is a transition of an episode of a pair; all three are those of Phase 2.")
