"""Whether low precision pays on this machine."""

from __future__ import annotations

import timeit
from functools import partial

import torch
from lightning import Trainer

SLOWER = 2.0
"""From this ratio on it is said. With the instructions it is below 1, without them 3 to 50."""


def warning_of_slow_precision(trainer: Trainer) -> str | None:
    """What to tell a user who trains in bfloat16 on a CPU that must imitate it."""
    if trainer.precision != "bf16-mixed" or trainer.strategy.root_device.type != "cpu":
        return None
    ratio = bfloat16_ratio()
    if ratio < SLOWER:
        return None
    return (
        f"warning: --trainer.precision bf16-mixed: this CPU has no fast bfloat16 (a wide layer takes {ratio:.0f} times "
        "as long as in 32 bits); use --trainer.precision 32-true"
    )


def bfloat16_ratio() -> float:
    """Time of a layer 256 wide on the CPU in bfloat16 over that in float32; the best of three each."""
    # Measured: every architecture has names of its own for these instructions, and torch imitates what is absent.
    best = []
    for dtype in (torch.bfloat16, torch.float32):
        layer, rows = torch.randn(256, 256).to(dtype), torch.randn(512, 256).to(dtype)
        _, *seconds = timeit.repeat(
            partial(torch.matmul, rows, layer), number=1, repeat=4
        )  # the first also chooses the kernel
        best.append(min(seconds))
    return best[0] / best[1]
