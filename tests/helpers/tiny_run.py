"""Whole runs on the tiny game, with small networks: seconds each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from misodice.datamodules.options import Data
from misodice.experiment import Experiment
from misodice.labelling import Labels
from misodice.modules import OMAPL, AgentMLP, Discriminator, HyperMixer, Policy, Value
from misodice.rollout.evaluation import Rollout
from tests.helpers.tiny_engine import Tiny

SMALL = {"network": partial(AgentMLP, hidden=(8,)), "epochs": 4}


def experiment(path: Path, run_dir: Path, **parts: Any) -> Experiment:
    """An Experiment on the tiny game; `parts` go over its own."""
    trainer = {"enable_progress_bar": False, "accelerator": "cpu"} | parts.pop("trainer", {})
    stages = {
        "preference": OMAPL(mixer=partial(HyperMixer, hidden=4), **SMALL),
        "discriminator": Discriminator(**SMALL),
        "value": Value(**SMALL),
        "policy": Policy(**SMALL),
    }
    return Experiment(
        env=parts.pop("env", Tiny()),
        data=Data(str(path), k=10, **{"batch_size": 64} | parts.pop("data", {})),
        labels=Labels(n_pairs=60),
        rollout=Rollout(episodes=4, every_n_epochs=1),
        run_dir=run_dir,
        trainer=trainer,
        **stages | parts,
    )
