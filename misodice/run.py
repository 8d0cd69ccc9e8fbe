"""One run's folder: fixed file names, fingerprints of what made each artefact, and the summary."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from misodice.errors import MisodiceError


def fingerprint(*parts: Any) -> str:
    """Short hash of configuration values and earlier fingerprints."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Hash of a file's content (about 1 GB/s)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def write_text(path: Path, content: str) -> None:
    """Write whole or not at all, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(content)
    os.replace(temporary, path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all, folders included."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's content; None where there is no file."""
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@dataclass(frozen=True)
class RunDir:
    """runs/{config}/{method}/seed_{seed}."""

    path: Path

    def check_writable(self) -> None:
        """Raises MisodiceError before any training where nothing could be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".probe.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise MisodiceError(
                f"{self.path}: the run directory cannot be written ({error}); choose another --run_dir"
            ) from error

    @property
    def columns(self) -> Path:
        return self.path / "columns.h5"

    def stage_record(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage left: its fingerprint, steps, seconds and samples per second."""
        return read_json(self.path / stage / "stage.json")

    def write_stage_record(self, stage: str, record: dict[str, Any]) -> None:
        write_json(self.path / stage / "stage.json", record)

    def checkpoint(self, stage: str) -> Path:
        return self.path / stage / "last.ckpt"

    def join_metrics(self, stages: list[str]) -> None:
        """One metrics.csv of all stages' logs; a column a stage does not log is empty."""
        rows: list[dict[str, str]] = []
        for stage in stages:
            log = self.path / stage / "metrics.csv"
            if log.is_file():
                with log.open(newline="") as file:
                    rows += [{"stage": stage, **row} for row in csv.DictReader(file)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        temporary = self.path / f".metrics.csv.{os.getpid()}.tmp"
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names or ["stage"])
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, self.path / "metrics.csv")


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {package: version(package) for package in ("misodice", "torch", "lightning", "numpy", "gymnasium")}
