"""Folders of runs in the format that `fit` leaves, with made-up numbers."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from misodice.cli.main import main
from tests.helpers.cli import CONFIGS

VERSIONS = {"misodice": "0.1.0", "torch": "2.13.0", "lightning": "2.6.6", "numpy": "2.4.6", "gymnasium": "1.3.0"}
MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def config_text() -> str:
    """What `fit` writes as config.yaml."""
    printed = io.StringIO()
    command = ["fit", "--config", str(CONFIGS / "smacv2_zerg.yaml"), "--env", "SMAX", "--print_config"]
    with pytest.raises(SystemExit), contextlib.redirect_stdout(printed):
        main(command)
    return printed.getvalue()


@pytest.fixture
def make_run(config_text: str, tmp_path: Path) -> MakeRun:
    """Writes one run; `options` are set in config.yaml by dotted name."""
    return lambda *args, **kwargs: write_run(config_text, tmp_path / "runs", *args, **kwargs)


def write_run(
    config_text: str,
    root: Path,
    method: str = "misodice",
    seed: int = 0,
    mean: float = 1.0,
    task: str = "zerg_5_vs_5",
    options: dict[str, Any] | None = None,
    folder: str = "",
    summary: dict[str, Any] | None = None,
) -> Path:
    """Args: mean: the final return, on which the other figures depend; summary: fields to set in summary.json.

    `options` are named as the report names them, without init_args.
    """
    engine = "smax" if "_vs_" in task else "mamujoco"
    draw = np.random.default_rng([seed, int(abs(mean) * 1000)])
    path = root / (folder or task) / method / f"seed_{seed}"
    path.mkdir(parents=True)
    config = yaml.safe_load(config_text)
    config |= {"seed_everything": seed, "method": method, "run_dir": str(path)}
    config["env"] = {"class_path": "SMAX" if engine == "smax" else "MaMuJoCo", "init_args": {"task": task}}
    if method.startswith("bc_"):
        config["value"] = {"class_path": "misodice.modules.CloneWeights", "init_args": {"beta": 1.0}}
    for name, value in (options or {}).items():
        *parts, last = name.split(".")
        block = config
        for part in parts:
            block = block[part]
            block = block.get("init_args", block)
        block[last] = value
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    win_rate = min(max(mean - 0.9, 0.0), 1.0) if engine == "smax" else None
    after = {"quality": 0.9, "kendall_tau": 0.7, "precision_at_k": 0.9, "auroc": 0.95}
    content = {
        "task": task,
        "engine": engine,
        "env": {"engine": engine, "task": task, "version": "0.2.0"},
        "data": {"path": f"data/{task}.h5", "digest": f"digest of {task}"},
        "method": method,
        "seed": seed,
        "labels": {
            "labeller": "RuleLabeller",
            "ties": 0.02,
            **after,
            "pair_accuracy": {"held_out": 0.85 + 0.02 * seed, "trained": 0.9},
            "recovered": after,
            "win_counts": {name: value - 0.3 + 0.03 * seed for name, value in after.items()},
        },
        "stages": {"policy": {"steps": 100, "seconds": 3.0, "samples_per_second": 1e4}},
        "rollout": {
            "episodes": 32,
            "return_mean": mean,
            "return_std": 0.1,
            "returns": (mean + draw.normal(0, 0.1, 32)).tolist(),
            "win_rate": win_rate,
            "normalised_score": mean / 1.5 if engine == "smax" else mean / 3000,
        },
        "versions": VERSIONS,
        "fingerprint": "0" * 16,
    } | (summary or {})
    (path / "summary.json").write_text(json.dumps(content))
    lines = ["stage,epoch,step,rollout/return,rollout/win_rate", "value,0,9,,"]
    for epoch in range(4, 60, 5):
        reached = mean * (1 - np.exp(-epoch / 15)) + 0.02 * mean * draw.normal()
        won = "" if win_rate is None else max(win_rate * (1 - np.exp(-epoch / 15)), 0.0)
        lines.append(f"policy,{epoch},{epoch * 10},{reached},{won}")
    (path / "metrics.csv").write_text("\n".join(lines) + "\n")
    return path
