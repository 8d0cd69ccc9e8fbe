"""Seconds from a command's start; a part of `make bench`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import timeit
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback

from misodice.envs import SMAX, Source
from misodice.rollout.collect import collect

CONFIGS = Path(__file__).parent.parent / "configs"


class FirstStep(Callback):
    """Ends the process at the first step."""

    def on_train_batch_start(self, *_: Any) -> None:
        os._exit(0)


def startup() -> None:
    """Seconds of a command from its start; the best of three."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.h5"
        collect(SMAX("zerg_5_vs_5"), [Source("random", 300, "random")], path, seed=0)
        fit = ["fit", "--config", str(CONFIGS / "smacv2_zerg.yaml"), "--env", "SMAX", "--data.path", str(path)]
        fit += ["--data.ranking", "return", "--run_dir", f"{folder}/run"]
        commands = {"misodice --help": ["--help"], "misodice fit, to its first step": [*fit, *FIRST_STEP]}
        print("\n| command | seconds |\n|---|---|")
        for name, arguments in commands.items():
            command = [sys.executable, "-m", "misodice", *arguments]
            environment = {**os.environ, "PYTHONPATH": str(CONFIGS.parent)}
            run = partial(subprocess.run, command, env=environment, capture_output=True, check=True)
            best = min(timeit.repeat(run, number=1, repeat=3))
            print(f"| {name} | {best:.1f} |")


FIRST_STEP = ["--trainer.callbacks", "perf.startup.FirstStep"]


if __name__ == "__main__":
    startup()
