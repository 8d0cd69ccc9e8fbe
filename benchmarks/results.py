"""Train tasks x methods x seeds with `misodice fit`, one after another, and print the table of docs/results.md.

Run it from the folder where data/ and runs/ shall lie; what is finished is not trained again:

    python benchmarks/results.py            # train, then print
    python benchmarks/results.py --table    # print what there is
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
TASKS = ("smacv2_zerg", "smacv2_protoss", "smacv2_terran", "mamujoco_hopper", "mamujoco_ant", "mamujoco_halfcheetah")
METHODS = ("misodice", "bc_0", "bc_1")
SEEDS = (0, 1, 2)


def run_dir(task: str, method: str, seed: int) -> Path:
    return Path("runs") / task / method / f"seed_{seed}"


def train(task: str, method: str, seed: int) -> None:
    overlay = [] if method == "misodice" else ["--config", str(CONFIGS / "methods" / f"{method}.yaml")]
    subprocess.run(
        [
            *(sys.executable, "-m", "misodice", "fit", "--config", str(CONFIGS / f"{task}.yaml"), *overlay),
            *("--seed_everything", str(seed), "--run_dir", str(run_dir(task, method, seed))),
            *("--data.ranking", "oracle", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
        ],
        check=True,
    )


def cell(task: str, method: str) -> str:
    """Normalised score, then the return, mean ± std over the seeds that are done."""
    done = [run_dir(task, method, seed) / "summary.json" for seed in SEEDS]
    rollouts = [json.loads(path.read_text())["rollout"] for path in done if path.is_file()]
    if not rollouts:
        return "–"
    score, value = (np.array([rollout[key] for rollout in rollouts]) for key in ("normalised_score", "return_mean"))
    seeds = "" if len(rollouts) == len(SEEDS) else f", {len(rollouts)} of {len(SEEDS)} seeds"
    return f"{score.mean():.2f} ± {score.std():.2f} ({value.mean():.1f}{seeds})"


if __name__ == "__main__":
    if "--table" not in sys.argv[1:]:
        for seed in SEEDS:
            for task in TASKS:
                for method in METHODS:
                    train(task, method, seed)
    print("| task | " + " | ".join(METHODS) + " |")
    print("|---|" + "---|" * len(METHODS))
    for task in TASKS:
        print(f"| {task} | " + " | ".join(cell(task, method) for method in METHODS) + " |")
