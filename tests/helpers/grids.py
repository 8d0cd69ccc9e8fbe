"""Small grids on small real data."""

from pathlib import Path
from typing import Any

import yaml

from tests.helpers.cli import CONFIGS

SMALL = {
    **{"labels.n_pairs": 60, "data.k": 5, "data.batch_size": 64, "rollout.episodes": 2},
    "trainer.max_epochs": 2,
}


def misfortune(what: str, once: Path | None = None) -> dict[str, Any]:
    """The option that brings a `callbacks.Misfortune` into a cell."""
    arguments = {"what": what, "once": None if once is None else str(once)}
    return {"trainer.callbacks": [{"class_path": "tests.helpers.misfortune.Misfortune", "init_args": arguments}]}


def write_grid(path: Path, data: Path | None, **fields: Any) -> Path:
    """A grid of Hopper that is made of `data`; `fields` replace others, and those that are None are left out."""
    options = SMALL if data is None else SMALL | {"data.path": str(data)}
    grid = {
        "name": "small",
        "tasks": {"hopper": {"config": str(CONFIGS / "mamujoco_hopper.yaml")}},
        "methods": ["bc_0"],
        "seeds": [0],
        "options": options,
    }
    path.write_text(yaml.safe_dump({name: value for name, value in (grid | fields).items() if value is not None}))
    return path
