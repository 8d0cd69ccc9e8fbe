"""One cell of a grid: its folder, its command line, and how far it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from misodice.runs.files import read_json, write_json

Status = Literal["running", "done", "failed"]


@dataclass(frozen=True)
class Cell:
    """A task, a variant, a method and a seed.

    All of it is plain values: a worker on another machine takes a cell without importing a user's classes.

    Args:
        home: the grid's folder, `<root>/<name>`.
        task, variant, method, seed: which; no variant is None.
        configs: files, each over the one before.
        options: dotted options over them.
        env: class path and arguments of the engine that they name; None where they name none.
        sources: what the task's own episodes file is made of; None leaves that to `misodice fit`.
        data: that file, which all cells of the task share; None where it has none.
        fingerprint: of all that makes the result; a cell of another fingerprint is run again.
    """

    home: Path
    task: str
    variant: str | None
    method: str
    seed: int
    configs: list[Path]
    options: dict[str, Any]
    env: dict[str, Any] | None
    sources: list[dict[str, Any]] | None
    data: Path | None
    fingerprint: str

    @property
    def row(self) -> str:
        """Task and variant."""
        return self.task if self.variant is None else f"{self.task}.{self.variant}"

    @property
    def name(self) -> str:
        return f"{self.row}/{self.method}/seed_{self.seed}"

    @property
    def folder(self) -> Path:
        return self.home / self.row / self.method / f"seed_{self.seed}"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def collect(self) -> list[str]:
        """Arguments that make `data`."""
        return ["collect", *arguments({"output": str(self.data), "env": self.env, "sources": self.sources})]

    @property
    def fit(self) -> list[str]:
        """Arguments that train the cell, or go on where it stopped."""
        configs = [argument for config in self.configs for argument in ("--config", str(config))]
        data = {} if self.data is None else {"data.path": str(self.data)}
        own = {
            "seed_everything": self.seed,
            "method": self.method,
            "run_dir": str(self.folder),
            "shared_stages": str(self.home / "shared"),
            "trainer.enable_progress_bar": False,
            "ckpt_path": "last",
        }
        return ["fit", *configs, *arguments(self.options | data | own)]

    def record(self) -> dict[str, Any] | None:
        """cell.json; None where the cell was never begun."""
        return read_json(self.folder / "cell.json")

    def write(self, status: Status, reason: str | None, tries: int) -> None:
        """Say in cell.json how far it is, and in how many tries."""
        content = {
            "grid": self.home.name,
            "task": self.task,
            "variant": self.variant,
            "method": self.method,
            "seed": self.seed,
            "options": self.options,
            "fingerprint": self.fingerprint,
            "status": status,
            "reason": reason,
            "tries": tries,
        }
        write_json(self.folder / "cell.json", content)

    def forget_running(self) -> None:
        """Take back a cell.json that says that it runs, once it does not."""
        record = self.record()
        if record and record["status"] == "running":
            (self.folder / "cell.json").unlink()

    def state(self) -> Literal["done", "failed", "to do"]:
        """How far it is: done or failed only as it stands in the grid now."""
        record = self.record()
        if record is None or record["fingerprint"] != self.fingerprint or record["status"] == "running":
            return "to do"
        if record["status"] == "failed":
            return "failed"
        return "done" if (self.folder / "summary.json").is_file() else "to do"


def arguments(values: dict[str, Any]) -> list[str]:
    """Command-line options; all but text is JSON."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
