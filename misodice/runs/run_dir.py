"""One run's folder: fixed file names, fingerprints of what made each artefact, and the summary."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from misodice import __version__
from misodice.errors import MisodiceError
from misodice.runs.console import console
from misodice.runs.files import read_json, whole, write_json
from misodice.runs.lock import alone_in


def check_version(path: Path, found: object) -> None:
    """Raise a MisodiceError if another version of misodice made the file."""
    if found != __version__:
        raise MisodiceError(
            f"{path}: made by misodice {found or 'before 0.1'}, this is {__version__}: choose another --run_dir, or "
            f"delete {path.parent} to have the stage trained anew"
        )


@dataclass(frozen=True)
class RunDir:
    """runs/{config}/{method}/seed_{seed}."""

    path: Path

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes out of it.

        Raises:
            MisodiceError: another process has it, or nothing can be written there.
        """
        taken = (
            f"{self.path}: another process is at work in this run directory; wait for it, or choose another --run_dir"
        )
        if any(os.environ.get(name, "1") != "1" for name in ("WORLD_SIZE", "SLURM_NTASKS")):
            taken += (
                ". Where torchrun or srun has started several processes, each is a run of its own: start one alone, or "
                "set --trainer.devices to their number"
            )
        with ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(alone_in(self.path, taken, console()))
            except OSError as error:
                raise MisodiceError(
                    f"{self.path}: the run directory cannot be written ({error}); choose another --run_dir"
                ) from error
            for left in self.path.rglob(".*.tmp"):  # of a process that was killed
                left.unlink()
            yield

    @property
    def columns(self) -> Path:
        return self.path / "columns.h5"

    def summary(self) -> dict[str, Any] | None:
        """What a finished run came to; None where it is not finished."""
        return read_json(self.path / "summary.json")

    def forget_summary(self) -> None:
        """The run is not finished any more."""
        (self.path / "summary.json").unlink(missing_ok=True)

    def config(self) -> dict[str, Any]:
        """The options of config.yaml; none where there is no such file.

        Raises:
            MisodiceError: the file is no YAML of options.
        """
        path = self.path / "config.yaml"
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise MisodiceError(f"{path}: cannot be read ({error}); restore it, or choose another --run_dir") from error
        if not isinstance(content, dict):
            raise MisodiceError(f"{path}: found {type(content).__name__}, expected options; choose another --run_dir")
        return content

    def stage_record(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage left: its fingerprint, steps, seconds and samples per second.

        Raises:
            MisodiceError: another version left it.
        """
        path = self.path / stage / "stage.json"
        record = read_json(path)
        if record is not None:
            check_version(path, record.get("version"))
        return record

    def write_stage_record(self, stage: str, record: dict[str, Any]) -> None:
        write_json(self.path / stage / "stage.json", {"version": __version__, **record})

    def checkpoint(self, stage: str) -> Path:
        return self.path / stage / "last.ckpt"

    def log(self, stage: str) -> list[dict[str, str]]:
        """The rows of a stage's metrics.csv."""
        path = self.path / stage / "metrics.csv"
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def join_metrics(self, stages: list[str]) -> None:
        """One metrics.csv of all stages' logs; a column a stage does not log is empty."""
        rows = [{"stage": stage, **row} for stage in stages for row in self.log(stage)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        with whole(self.path / "metrics.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names or ["stage"])
            writer.writeheader()
            writer.writerows(rows)


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    # misodice's own is asked of the code: run from a checkout that is on the path alone, no metadata is installed.
    others = {package: version(package) for package in ("torch", "lightning", "numpy", "gymnasium")}
    return {"misodice": __version__} | others
