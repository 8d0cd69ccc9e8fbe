"""The real command line, as the tests call it."""

import csv
from pathlib import Path

from misodice.cli.main import main

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = "tests.helpers.tiny_engine.Tiny"
"""Where no other game is called for: a run on it takes a second, one on SMAX several."""
SMALL = [
    *("--labels.n_pairs", "60", "--data.k", "5", "--data.batch_size", "64"),
    *("--rollout.episodes", "2", "--rollout.every_n_epochs", "1"),
    *("--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"),
]


def fit_command(run_dir: Path | str, data: Path, *more: str, config: str | None = None) -> list[str]:
    """`misodice fit` on the tiny game, or by one of the shipped configs."""
    where = ["--data.path", str(data), "--run_dir", str(run_dir)]
    game = ["--env", TINY] if config is None else ["--config", str(CONFIGS / f"{config}.yaml")]
    return ["fit", *game, *where, *SMALL, *more]


def fit(run_dir: Path, data: Path, *more: str, config: str | None = None, status: int = 0) -> None:
    assert main(fit_command(run_dir, data, *more, config=config)) == status


def metrics(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
