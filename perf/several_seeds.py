"""What four seeds in one process could bring: value stages as one vmapped model against one after another."""

from __future__ import annotations

import argparse
import statistics

import torch
from bare import BATCH, Bare, now
from synthetic import SIZES, synthetic
from torch import Tensor
from torch.func import functional_call, stack_module_state

from misodice.datamodules.table import TransitionTable
from misodice.modules import Value


def seeds(options: argparse.Namespace, rounds: int) -> None:
    """The table of four value stages."""
    torch.set_num_threads(options.threads or 1)
    device = options.device
    table = TransitionTable.of(synthetic(SIZES["zerg_5_vs_5"])).on(torch.device(device))
    singles = [Bare(table, Value(), "32-true") for _ in range(4)]
    parameters, buffers = stack_module_state([bare.stage for bare in singles])
    bare = Bare(table, Value(), "32-true")
    ones, zeros = (make(bare.size, bare.window, device=device) for make in (torch.ones, torch.zeros))

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], rows: Tensor) -> Tensor:
        nu = functional_call(bare.stage, (parameters, buffers), (bare.obs[rows], bare.state[rows]))
        return bare.value_loss(nu, ones, zeros)

    optimizer = torch.optim.Adam(parameters.values(), lr=3e-4, fused=True)
    batched = torch.vmap(loss)

    def together(steps: int) -> float:
        started = now(device)
        for _ in range(steps):
            rows, _ = bare.windows(torch.randint(bare.count, (4 * bare.size,), device=device))
            initial = bare.initial[torch.randint(len(bare.initial), (4, BATCH // 8), device=device)]
            optimizer.zero_grad()
            batched(parameters, buffers, torch.cat([rows.view(4, -1), initial], dim=1)).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return now(device) - started

    times = [
        (together(options.steps), sum(single.seconds(options.steps) for single in singles)) for _ in range(rounds + 1)
    ]
    one, four = (statistics.median(column) for column in zip(*times[1:], strict=True))
    print("\n| four seeds of the value stage, zerg_5_vs_5 | ms a step of all four |\n|---|---|")
    print(f"| one batched model (torch.vmap) | {1000 * one / options.steps:.1f} |")
    print(f"| one after another | {1000 * four / options.steps:.1f} |")
