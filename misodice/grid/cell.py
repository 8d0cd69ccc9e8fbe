"""One cell of a grid: its folder, its command line, and how far it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import misodice
from misodice.envs import EnvConfig, resolve_engine
from misodice.rollout.collect import Source
from misodice.runs.files import file_digest, read_json, write_json
from misodice.runs.run_dir import fingerprint

Status = Literal["running", "done", "failed"]


@dataclass(frozen=True)
class Cell:
    """A task, a variant, a method and a seed.

    Args:
        home: the grid's folder, `<root>/<name>`.
        task, variant, method, seed: which; no variant is None.
        configs: files, each over the one before.
        options: dotted options over them.
        sources: what the task's own episodes file is made of; None leaves that to `misodice fit`.
        path: the user's own episodes file that they name.
        env: which environment they name.
    """

    home: Path
    task: str
    variant: str | None
    method: str
    seed: int
    configs: list[Path]
    options: dict[str, Any]
    sources: list[Source] | None
    path: Path | None
    env: EnvConfig

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
    def data(self) -> Path | None:
        """The task's own episodes file, shared by its cells; None where it has none."""
        if self.sources is None:
            return None
        made_of = fingerprint(asdict(self.env), resolve_engine(self.env), [asdict(source) for source in self.sources])
        return self.home / "data" / f"{self.task}-{made_of}.h5"

    @property
    def collect(self) -> list[str]:
        """Arguments that make `data`."""
        env = {f"env.{name}": value for name, value in asdict(self.env).items()}
        sources = [asdict(source) for source in self.sources or []]
        return ["collect", *_options({"output": str(self.data), **env, "sources": sources})]

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
        return ["fit", *configs, *_options(self.options | data | own)]

    @property
    def fingerprint(self) -> str:
        """Of all that makes the result; a cell of another fingerprint is run again."""
        texts = [config.read_text() for config in self.configs]
        data = self.data.name if self.data else _digest(self.path) if self.path else None
        return fingerprint(texts, self.options, data, misodice.__version__, resolve_engine(self.env))

    def record(self) -> dict[str, Any] | None:
        """cell.json; None where the cell was never begun."""
        return read_json(self.folder / "cell.json")

    def write(self, status: Status, reason: str | None, tries: int) -> None:
        """Say in cell.json how far it is, and in how many tries."""
        # At its end still what it was begun with: a config may be edited while a cell runs.
        begun = None if status == "running" else self.record()
        content = {
            "grid": self.home.name,
            "task": self.task,
            "variant": self.variant,
            "method": self.method,
            "seed": self.seed,
            "options": self.options,
            "fingerprint": begun["fingerprint"] if begun else self.fingerprint,
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


@cache
def _digest(path: Path) -> str:
    return file_digest(path)


def _options(values: dict[str, Any]) -> list[str]:
    """Command-line options; all but text is JSON."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
