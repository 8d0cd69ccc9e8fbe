"""Whether low precision pays on this machine."""

from __future__ import annotations

import timeit
from functools import partial

import torch
from lightning import Trainer

SLOWER = 2.0
"""From this ratio on bfloat16 is warned of. With the instructions the ratio is below 1, without them 3 to 50."""
FASTER = 0.7
"""Below this ratio bfloat16 is suggested: less would be lost again in what stays in 32 bits."""


def note_on_precision(trainer: Trainer) -> str | None:
    """What to tell a user who trains on a CPU in bfloat16 that is imitated, or in 32 bits where bfloat16 is fast."""
    if trainer.strategy.root_device.type != "cpu" or trainer.precision not in ("bf16-mixed", "32-true"):
        return None
    ratio = bfloat16_ratio()
    if trainer.precision == "bf16-mixed" and ratio >= SLOWER:
        return (
            "warning: --trainer.precision bf16-mixed: this CPU has no fast bfloat16 (a wide layer takes "
            f"{ratio:.0f} times as long as in 32 bits); use --trainer.precision 32-true"
        )
    if trainer.precision == "32-true" and ratio <= FASTER:
        return (
            f"this CPU computes a wide layer {1 / ratio:.1f} times as fast in bfloat16: --trainer.precision bf16-mixed "
            "trains faster (docs/performance.md)"
        )
    return None


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
