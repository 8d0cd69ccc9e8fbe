"""Data of one's own and no environment: arrays become an episodes file, a policy, and an exported file.

python -m examples.own_data
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from misodice import Data, Episodes, Experiment, Header
from misodice.export import export

STEPS, GOALS = 15, np.array([[0.5, 0.5], [-0.5, 0.5]])


def simulate(episodes: int, skill: float, seed: int) -> dict[str, np.ndarray]:
    """Two agents on a plane go to their goals. `skill` is the share of a step that leads there; the rest is noise.

    Returns:
        obs [E·(STEPS + 1), 2, 2], actions [E·STEPS, 2, 2] and rewards [E·STEPS], one episode after another.
    """
    rng = np.random.default_rng(seed)
    obs, actions, rewards = [], [], []
    for _ in range(episodes):
        obs.append(rng.uniform(-1, 1, (2, 2)))
        for _ in range(STEPS):
            direction = skill * 2 * (GOALS - obs[-1]) + (1 - skill) * rng.normal(size=(2, 2))
            actions.append(direction.clip(-1, 1))
            obs.append(obs[-1] + 0.3 * actions[-1])
            rewards.append(-np.linalg.norm(GOALS - obs[-1], axis=1).sum())
    return {"obs": np.stack(obs), "actions": np.stack(actions), "rewards": np.array(rewards)}


def main(folder: str = "runs/two_goals", trainer: Mapping[str, Any] | None = None) -> Path:
    """Write the episodes, train, act, and export.

    Args:
        folder: of the run.
        trainer: options of Lightning's Trainer.

    Returns:
        The exported file.
    """
    good, poor = simulate(40, skill=0.9, seed=0), simulate(160, skill=0.1, seed=1)
    obs, actions, rewards = (np.concatenate([good[name], poor[name]]) for name in ("obs", "actions", "rewards"))
    header = Header(env={"task": "two_goals"}, obs_features=["x", "y"])
    episodes = Episodes.from_arrays(obs, actions, length=[STEPS] * 200, rewards=rewards, header=header)
    episodes.write("data/two_goals.h5", overwrite=True)

    experiment = Experiment(data=Data(path="data/two_goals.h5", k=40), run_dir=folder, trainer=trainer)
    experiment.fit()
    print("both agents at (0, 0) act", experiment.policy.act(torch.zeros(1, 2, 2), None))
    path, _ = export(experiment.result.policy_path, "torchscript")
    return path


if __name__ == "__main__":
    print("exported:", main())
