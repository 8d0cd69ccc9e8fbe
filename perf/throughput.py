"""Samples per second of each stage beside a bare loop, rollouts, start-up, several seeds at once: `make bench`.

    python perf/throughput.py [--only training] [--data Ant] [--precision bf16-mixed] [--threads 1]
                                    [--device cuda] [--compile reduce-overhead]

Training: data of the paper's sizes, made of random numbers, in memory; the stage under Lightning with what a run has
(progress bar, log, callbacks) and a loop written here that does the same arithmetic take turns in one process a case.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import statistics
import tempfile
import time
import timeit
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from rollouts import rollouts
from startup import startup
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from misodice.callbacks.clock import RunClock
from misodice.callbacks.compiling import Compile
from misodice.callbacks.progress import StageBar
from misodice.callbacks.stopping import SaveWhenStopped
from misodice.data.episodes import Episodes, Header
from misodice.data.ranking import rank_episodes, top_k
from misodice.datamodules.experts import Experts
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.table import TransitionTable
from misodice.modules import Discriminator, Policy, Stage, Value, dice

BATCH = 512


@dataclass(frozen=True)
class Size:
    """Of a data set: agents, entries, actions, whether those are discrete, steps of an episode, transitions."""

    agents: int
    obs: int
    state: int
    actions: int
    discrete: bool
    steps: int
    transitions: int


SIZES = {  # the paper's Table 2
    "zerg_5_vs_5": Size(5, 82, 120, 11, True, 28, 34_300),
    "terran_20_vs_23": Size(20, 346, 858, 29, True, 47, 57_100),
    "Ant": Size(2, 113, 452, 4, False, 1000, 1_200_000),
    "HalfCheetah": Size(6, 23, 828, 1, False, 1000, 1_200_000),
}


def synthetic(size: Size) -> Episodes:
    """Random numbers in the shapes of `size`."""
    rng = np.random.default_rng(0)
    episodes = size.transitions // size.steps
    steps, rows = episodes * size.steps, episodes * (size.steps + 1)

    def floats(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    actions = (
        rng.integers(0, size.actions, (steps, size.agents))
        if size.discrete
        else floats(steps, size.agents, size.actions).clip(-1, 1)
    )
    last = np.arange(steps) % size.steps == size.steps - 1
    return Episodes(
        header=Header({"engine": "none"}),
        obs=floats(rows, size.agents, size.obs),
        state=floats(rows, size.state),
        actions=actions,
        available_actions=np.ones((rows, size.agents, size.actions), bool) if size.discrete else None,
        terminated=np.zeros(steps, bool),
        truncated=last,
        length=np.full(episodes, size.steps),
        returns=floats(episodes),
    )


def now(device: str) -> float:
    """Seconds, once the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Timer(Callback):
    """Seconds from the first step's beginning to the last one's end."""

    def __init__(self, device: str) -> None:
        self.device = device

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = now(self.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds = now(self.device) - self.started


class Bare:
    """The three training loops on tensors: index, forward, loss, backward, Adam."""

    def __init__(self, table: TransitionTable, stage: Stage, precision: str) -> None:
        self.obs, self.state, self.actions = table.obs, table.state, table.actions
        self.available = table.available_actions
        self.rows, self.last, self.initial = table.rows, table.last, table.first_rows
        self.device = self.obs.device.type
        self.column = torch.ones(len(self.rows), device=self.device)
        self.stage: Any = stage.to(self.device)
        self.optimizer = torch.optim.Adam(stage.parameters(), lr=3e-4, fused=True)
        self.low = precision == "bf16-mixed"

    def seconds(self, steps: int) -> float:
        """Of so many steps."""
        self.stage.to(self.device)  # Lightning leaves it on the CPU
        order = torch.randperm(len(self.rows), device=self.device)
        order = order.repeat(-(-steps * BATCH // len(order)))
        loss_of = getattr(self, self.stage.name)
        started = now(self.device)
        for step in range(steps):
            items = order[step * BATCH : (step + 1) * BATCH]
            with torch.autocast(self.device, torch.bfloat16) if self.low else nullcontext():
                loss = loss_of(items)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return now(self.device) - started

    def flops(self) -> float:
        """Of the matrix products of one transition, forward and backward."""
        with FlopCounterMode(display=False) as counter:
            self.seconds(1)
        return float(counter.get_total_flops()) / BATCH

    def _mixed(self, values: Tensor, state: Tensor) -> Tensor:
        with torch.autocast(self.device, enabled=False):
            mixed: Tensor = self.stage.mixer(values, self.stage.standardise_state(state))
        return mixed

    def discriminator(self, items: Tensor) -> Tensor:
        items = torch.cat([torch.randint(len(self.rows), (len(items),), device=self.device), items])
        rows = self.rows[items]
        actions = self.actions[items]
        if self.available is not None:
            actions = torch.nn.functional.one_hot(actions, self.available.shape[-1]).float()
        inputs = torch.cat([self.stage.standardise_obs(self.obs[rows]), actions], dim=-1)
        logits = self._mixed(self.stage.local(inputs).squeeze(-1), self.state[rows])
        return dice.discriminator_loss(*logits.chunk(2))

    def value(self, items: Tensor) -> Tensor:
        rows = self.rows[items]
        initial = self.initial[torch.randint(len(self.initial), (len(items) // 8,), device=self.device)]
        every = torch.cat([rows, rows + 1, initial])
        nu = self._mixed(self.stage.local(self.stage.standardise_obs(self.obs[every])).squeeze(-1), self.state[every])
        nu, next_nu, initial_nu = nu.split([len(rows), len(rows), len(initial)])  # type: ignore[no-untyped-call]
        advantage = dice.advantage(self.column[items], nu, next_nu, self.last[items], 0.99)
        return dice.value_loss_exp(initial_nu, advantage, 0.05, 0.99)

    def policy(self, items: Tensor) -> Tensor:
        rows = self.rows[items]
        output = self.stage.local(self.stage.standardise_obs(self.obs[rows]))
        available = None if self.available is None else self.available[rows]
        log_prob = self.stage.head.log_prob(output, self.actions[items], available)
        return dice.weighted_bc_loss(log_prob, self.column[items])


def peak_memory(device: str) -> float:
    """MB that the process had at most: of the GPU, what torch took there."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train(name: str, options: argparse.Namespace) -> list[tuple[str, float, float, float, float]]:
    """(stage, samples per second under Lightning, of the bare loop, FLOP of a sample, peak MB) of one data set."""
    torch.set_num_threads(options.threads)
    device, mode = options.device, options.compile
    compiling = [] if mode is None else [Compile(None if mode == "default" else mode)]
    warnings.filterwarnings("ignore")  # of Lightning, about what a run sets otherwise
    for quiet in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(quiet).setLevel(logging.ERROR)
    episodes = synthetic(SIZES[name])
    table = TransitionTable.of(episodes).on(torch.device(device))
    column = torch.ones(table.n_transitions, device=table.device)
    experts = Experts.of(top_k(rank_episodes(episodes, "return"), 200), 0.1, 0)
    inputs = Inputs(table, {"log_ratio": column, "weight": column}, experts, None, BATCH, 0)
    stages: tuple[Stage, ...] = (Discriminator(), Value(), Policy())
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for stage in stages:
            data = stage.datamodule(inputs)
            speeds = []
            bare = None
            for _ in range(options.rounds + 1):
                timer = Timer(device)
                trainer = Trainer(
                    accelerator=device,
                    devices=1,
                    precision=options.precision,
                    max_epochs=1,
                    limit_train_batches=options.steps,
                    limit_val_batches=0,
                    enable_checkpointing=False,
                    enable_model_summary=False,
                    logger=CSVLogger(folder, name="", version=""),
                    callbacks=[
                        StageBar(f"{name} {stage.name}", RunClock({})),
                        SaveWhenStopped(Path(folder) / "-"),
                        timer,
                        *compiling,
                    ],
                )
                trainer.fit(stage, datamodule=data)
                bare = bare or Bare(table, stage, options.precision)
                trained = int(trainer.num_training_batches)  # fewer than asked for where that is an epoch
                speeds.append((trained * BATCH / timer.seconds, trained * BATCH / bare.seconds(trained)))
            # The first round warms up.
            ours, theirs = (statistics.median(column) for column in zip(*speeds[1:], strict=True))
            assert bare is not None
            results.append((stage.name, ours, theirs, bare.flops(), peak_memory(device)))
    return results


def matrix_product(threads: int, device: str) -> float:
    """GFLOP/s of 2560×256 by 256×256 in float32."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2560, 256, device=device), torch.randn(256, 256, device=device)
    best = min(timeit.repeat(lambda: a @ b, number=20, repeat=20, timer=lambda: now(device))) / 20
    return 2 * a.shape[0] * 256 * 256 / best / 1e9


def training(options: argparse.Namespace) -> None:
    """The table of stages."""
    peak_rate = matrix_product(options.threads, options.device)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} thread(s)"
    print(f"\n256-wide matrix product: {peak_rate:,.0f} GFLOP/s, {where}\n")
    print("| data | stage | ratio | samples/s | bare loop | GFLOP/s | peak memory, MB |\n|---|---|---|---|---|---|---|")
    for name in options.data:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            results = alone.submit(train, name, options).result()
        for stage, ours, theirs, flops, peak in results:
            speeds = f"{ours / theirs:.2f} | {ours:,.0f} | {theirs:,.0f} | {ours * flops / 1e9:,.0f}"
            print(f"| {name} | {stage} | {speeds} | {peak:,.0f} |", flush=True)
        ours, theirs = (1 / sum(1 / speed for speed in column) for column in list(zip(*results, strict=True))[1:3])
        flops = sum(row[3] for row in results)
        print(
            f"| {name} | all three | {ours / theirs:.2f} | {ours:,.0f} | {theirs:,.0f} | {ours * flops / 1e9:,.0f} | |"
        )


def seeds(options: argparse.Namespace) -> None:
    """What four seeds in one process could bring: value stages as one vmapped model against one after another."""
    from torch.func import functional_call, stack_module_state

    torch.set_num_threads(options.threads)
    device = options.device
    table = TransitionTable.of(synthetic(SIZES["zerg_5_vs_5"])).on(torch.device(device))

    def make() -> Bare:
        stage = Value()
        stage._build(table.spec)
        return Bare(table, stage, "32-true")

    singles = [make() for _ in range(4)]
    parameters, buffers = stack_module_state([bare.stage for bare in singles])
    bare = make()
    ones, zeros = torch.ones(BATCH, device=device), torch.zeros(BATCH, device=device)

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], rows: Tensor, initial: Tensor) -> Tensor:
        every = torch.cat([rows, rows + 1, initial])
        nu = functional_call(bare.stage, (parameters, buffers), (bare.obs[every], bare.state[every]))
        nu, next_nu, initial_nu = nu.split([BATCH, BATCH, BATCH // 8])
        advantage = dice.advantage(ones, nu, next_nu, zeros, 0.99)
        return dice.value_loss_exp(initial_nu, advantage, 0.05, 0.99)

    optimizer = torch.optim.Adam(parameters.values(), lr=3e-4, fused=True)
    batched = torch.vmap(loss)

    def together(steps: int) -> float:
        started = now(device)
        for _ in range(steps):
            rows = bare.rows[torch.randint(len(bare.rows), (4, BATCH), device=device)]
            initial = bare.initial[torch.randint(len(bare.initial), (4, BATCH // 8), device=device)]
            optimizer.zero_grad()
            batched(parameters, buffers, rows, initial).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return now(device) - started

    times = [
        (together(options.steps), sum(single.seconds(options.steps) for single in singles))
        for _ in range(options.rounds + 1)
    ]
    one, four = (statistics.median(column) for column in zip(*times[1:], strict=True))
    print("\n| four seeds of the value stage, zerg_5_vs_5 | ms a step of all four |\n|---|---|")
    print(f"| one batched model (torch.vmap) | {1000 * one / options.steps:.1f} |")
    print(f"| one after another | {1000 * four / options.steps:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["startup", "training", "rollouts", "seeds"])
    parser.add_argument("--data", choices=SIZES, nargs="+", default=list(SIZES), help="of the training part")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of the training and seeds parts")
    parser.add_argument("--compile", choices=["default", "reduce-overhead"], help="under Lightning, of that part")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    if options.only in (None, "startup"):
        startup()
    if options.only in (None, "training"):
        training(options)
    if options.only in (None, "rollouts"):
        rollouts()
    if options.only in (None, "seeds"):
        seeds(options)
