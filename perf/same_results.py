"""Train the same small runs with two checkouts and compare every result bit for bit.

    python perf/same_results.py --before ../misodice-before --after . --output /tmp/same

A refactoring changes no result. Both checkouts train zerg_5_vs_5 and Hopper by all eight methods, two epochs a stage,
on the same two episodes files. Columns, labels, the tensors of the kept checkpoints and the returns of all rollouts
must be equal. A run that is already there is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import torch

METHODS = ("misodice", "misodice_vdn", "bc_0", "bc_05", "bc_1", "omapl", "indd", "marl_sl")
COLLECT = {
    "smacv2_zerg": "from misodice.data.collect import collect, Source; from misodice.envs import EnvConfig; "
    "collect(EnvConfig('smax', 'zerg_5_vs_5'), [Source('zerg_5_vs_5_expert', 30, 'expert'), "
    "Source('zerg_5_vs_5_weak', 50, 'poor'), Source('random', 40, 'random')], '{path}', seed=0)",
    "mamujoco_hopper": "from misodice.data.collect import collect, Source; from misodice.envs import EnvConfig; "
    "collect(EnvConfig('mamujoco', 'Hopper', '3x1'), [Source('hopper_v5_expert', 8, 'expert'), "
    "Source('hopper_v5_poor', 30, 'poor')], '{path}', seed=0)",
}
OPTIONS = {
    "smacv2_zerg": ["--data.k", "30", "--labels.n_pairs", "200"],
    "mamujoco_hopper": ["--data.k", "8", "--labels.n_pairs", "100", "--trainer.limit_train_batches", "30"],
}
SMALL = ["--trainer.max_epochs", "2", "--rollout.episodes", "8", "--trainer.enable_progress_bar", "false"]


def run(checkout: Path, arguments: list[str], where: Path) -> None:
    """Run Python in `where` with the package of `checkout`."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=where, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def make_runs(checkout: Path, output: Path, data: Path) -> None:
    """All runs of one checkout, under `output`."""
    for config in OPTIONS:
        for method in METHODS:
            folder = output / config / method
            if (folder / "summary.json").is_file():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            configs = ["--config", str(checkout / "configs" / f"{config}.yaml")]
            if method != "misodice":
                configs += ["--config", str(checkout / "configs" / "methods" / f"{method}.yaml")]
            place = ["--data.path", str(data / f"{config}.h5"), "--run_dir", str(folder)]
            run(checkout, ["-m", "misodice", "fit", *configs, *place, *OPTIONS[config], *SMALL], output)
            print(f"made: {folder}", flush=True)


def differences(before: Path, after: Path) -> tuple[list[str], int]:
    """What differs between two runs, and how many arrays were compared."""
    found: list[str] = []
    compared = 0
    for name in ("columns.h5", "labels.h5"):
        if not (before / name).is_file():
            continue
        with h5py.File(before / name) as one, h5py.File(after / name) as other:
            for key in one:
                compared += 1
                if key not in other or not np.array_equal(one[key][:], other[key][:], equal_nan=True):
                    found.append(f"{name}: {key}")
    for path in sorted(before.glob("*/*.ckpt")):
        other_path = after / path.relative_to(before)
        if not other_path.is_file():
            found.append(f"{path.relative_to(before)} is missing")
            continue
        # The files are this script's own.
        one, other = (torch.load(each, map_location="cpu", weights_only=False) for each in (path, other_path))
        tensors = [dict(each["state_dict"]) for each in (one, other)]
        if list(tensors[0]) != list(tensors[1]):
            found.append(f"{path.relative_to(before)}: names of tensors")
        for key in tensors[0].keys() & tensors[1].keys():
            compared += 1
            if not torch.equal(tensors[0][key], tensors[1][key]):
                found.append(f"{path.relative_to(before)}: {key}")
    one, other = (json.loads((each / "summary.json").read_text()) for each in (before, after))
    compared += 1
    if one["rollout"] != other["rollout"]:
        found.append(f"rollout: {one['rollout']['return_mean']} and {other['rollout']['return_mean']}")
    return found, compared


def main() -> int:
    """Make both sets of runs and compare them; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the earlier commit")
    parser.add_argument("--after", type=Path, default=Path(), help="checkout of the later commit")
    parser.add_argument("--output", type=Path, required=True, help="folder of the data and of both sets of runs")
    parser.add_argument("--only", choices=("before", "after"), help="make one set of runs and compare nothing")
    given = parser.parse_args()
    data = given.output.resolve() / "data"
    data.mkdir(parents=True, exist_ok=True)
    for config, code in COLLECT.items():
        path = data / f"{config}.h5"
        if not path.is_file():
            run(given.before.resolve(), ["-c", code.format(path=path)], data)
    for side in ("before", "after"):
        if given.only in (None, side):
            folder = given.output.resolve() / side
            folder.mkdir(exist_ok=True)
            make_runs(getattr(given, side).resolve(), folder, data)
    if given.only:
        return 0
    different = 0
    for config in OPTIONS:
        for method in METHODS:
            place = Path(config) / method
            found, compared = differences(given.output / "before" / place, given.output / "after" / place)
            different += bool(found)
            print(f"{place}: {compared} compared, " + (f"DIFFERENT: {'; '.join(found)}" if found else "all equal"))
    return int(different > 0)


if __name__ == "__main__":
    raise SystemExit(main())
