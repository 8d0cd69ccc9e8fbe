"""Small data sets of random numbers, and datamodules that are asked for batches without a Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from lightning import Callback, Trainer

from misodice.data.episodes import Episodes, Header
from misodice.datamodules.base import StageData
from misodice.datamodules.batches import Spec
from misodice.datamodules.table import TransitionTable
from misodice.modules.stage import Stage

D = TypeVar("D", bound=StageData)
N_AGENTS, OBS, STATE, N_ACTIONS = 3, 4, 6, 5


def episodes_of(lengths: Sequence[int], discrete: bool = True, seed: int = 0) -> Episodes:
    """Random episodes of these lengths; each ends by the rules or by a time limit."""
    rng = np.random.default_rng(seed)
    length = np.asarray(lengths, np.int64)
    steps, rows = int(length.sum()), int(length.sum()) + len(length)
    last = np.zeros(steps, bool)
    last[np.cumsum(length) - 1] = True
    terminated = last & (rng.random(steps) < 0.5)
    available = rng.random((rows, N_AGENTS, N_ACTIONS)) < 0.5
    available[..., 0] = True
    starts = np.arange(steps) + np.repeat(np.arange(len(length)), length)
    chosen = np.where(available[starts], rng.random((steps, N_AGENTS, N_ACTIONS)), -1.0).argmax(axis=-1)
    return Episodes.from_arrays(
        obs=rng.normal(3.0, 2.0, (rows, N_AGENTS, OBS)),
        state=rng.normal(size=(rows, STATE)),
        actions=chosen if discrete else rng.uniform(-1, 1, (steps, N_AGENTS, N_ACTIONS)),
        available_actions=available if discrete else None,
        length=length,
        rewards=rng.normal(size=steps),
        terminated=terminated,
        truncated=last & ~terminated,
        header=Header(env={"engine": "none"}, obs_features=list("abcd"), action_scale=1.0 if discrete else 4.0),
    )


def table_of(lengths: Sequence[int], discrete: bool = True, seed: int = 0) -> TransitionTable:
    return TransitionTable.of(episodes_of(lengths, discrete, seed))


def served(data: D, epoch: int = 0, rank: int = 0, world_size: int = 1) -> D:
    """`data` in a run's process number `rank` in epoch `epoch`."""
    data.trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank, world_size=world_size)  # type: ignore[assignment]
    return data


def save_stage(stage: Stage, spec: Spec, path: Path) -> Path:
    """A checkpoint of the stage as it begins, without a Trainer."""
    torch.manual_seed(0)
    stage._build(spec)
    checkpoint: dict[str, Any] = {"state_dict": stage.state_dict()}
    stage.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return path


def train(stage: Stage, data: StageData, *callbacks: Callback, epochs: int = 1, **options: Any) -> Trainer:
    """`stage` under a Trainer that shows and writes nothing."""
    shown = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = dict.fromkeys(shown, False) | options
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), **options)
    trainer.fit(stage, datamodule=data)
    return trainer
