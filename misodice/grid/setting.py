"""What a cell is trained with, and its fingerprint. The command line's own parser is too slow for many cells."""

from __future__ import annotations

import importlib
import re
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import yaml
from jsonargparse import ArgumentParser

import misodice
from misodice.data.content import content_digest
from misodice.data.episodes import Episodes
from misodice.envs import Engine, Source
from misodice.errors import MisodiceError
from misodice.experiment import Experiment
from misodice.grid.cell import arguments
from misodice.report.settings import counts
from misodice.runs.differences import dotted
from misodice.runs.fingerprint import fingerprint
from misodice.runs.first_edition import in_todays_form
from misodice.runs.parts import config_of


@dataclass(frozen=True)
class Setting:
    """The configs and options of one cell.

    Args:
        task: its name, for messages.
        configs: files, each over the one before; overlays of methods are among them.
        options: dotted options over them.
        sources: what the task's own episodes file is made of; None where it has none.

    Raises:
        MisodiceError: a data file is not there, or `env` holds what no engine has.
    """

    task: str
    configs: tuple[Path, ...]
    options: Mapping[str, Any]
    sources: Sequence[Source] | None

    @cached_property
    def engine(self) -> Engine | None:
        """None where no config names one: the episodes file then does."""
        blocks = [block for config in self.configs if (block := _yaml(config).get("env")) is not None]
        given = [argument for block in blocks for argument in arguments({"env": block})]
        given += arguments({name: value for name, value in self.options.items() if name.partition(".")[0] == "env"})
        try:
            return _engine(tuple(given))
        except ArgumentError as error:
            raise MisodiceError(
                f"task {self.task}: env: {error}; the options are those of `misodice fit --help`"
            ) from error

    @property
    def plain_sources(self) -> list[dict[str, Any]] | None:
        """The sources as plain values."""
        if self.sources is None:
            return None
        return [config_of(source)["init_args"] for source in self.sources]

    def data(self, folder: Path) -> Path | None:
        """The task's own episodes file in `folder`, named after what it is made of."""
        sources = self.plain_sources
        if sources is None:
            return None
        if self.engine is None:
            raise MisodiceError(f"task {self.task}: collect needs an environment; name one in `env`")
        made_of = fingerprint(_engine_mark(self.engine), sources, _code_of(dotted(source) for source in sources))
        return folder / f"{self.task}-{made_of}.h5"

    @property
    def fingerprint(self) -> str:
        """Of all that makes the result: options, data, engine, and the source of the user's classes and functions.

        How or where something is shown, the layout of a file and its comments do not count.
        """
        layers = [{name: value for name, value in layer.items() if counts(name)} for layer in self._layers]
        own = self.data(Path())
        data = own.name if own else self._path and _digest(self._path)
        engine = self.engine and _engine_mark(self.engine)
        return fingerprint(layers, _code_of(layers), data, engine, misodice.__version__, _mark(Experiment))

    @cached_property
    def _layers(self) -> list[dict[str, Any]]:
        return [dotted(_yaml(config)) for config in self.configs] + [dotted(self.options)]

    @property
    def _path(self) -> Path | None:
        """The user's own episodes file."""
        path = next((layer["data.path"] for layer in reversed(self._layers) if "data.path" in layer), None)
        if path is not None and not Path(path).is_file():
            raise MisodiceError(f"task {self.task}: data.path: {path} does not exist; name a file, or leave it out")
        return None if path is None else Path(path).resolve()


def _code_of(layers: Iterable[Mapping[str, Any]]) -> list[str]:
    """Fingerprints of the classes and functions that options name."""
    return [_mark(made) for layer in layers for name, value in layer.items() for made in _named(name, value)]


def _named(name: str, value: Any) -> Iterator[Any]:
    """What an option, or what stands in it, names by its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _named(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(name, inner)
    elif isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", value):
        module, _, found = value.rpartition(".")
        if name.endswith("class_path") or found[0].isupper():  # other words with a dot are names of files
            with suppress(Exception):  # `misodice fit` says what is wrong with it
                made = getattr(importlib.import_module(module), found)
                if isinstance(made, (type, FunctionType)):
                    yield made


@cache
def _mark(made: Any) -> str:
    return fingerprint(made)


@cache
def _engine_mark(engine: Engine) -> str:
    return fingerprint(engine.resolve())


@cache
def _digest(path: Path) -> str:
    return content_digest(Episodes.read(path))


@cache
def _engine(given: tuple[str, ...]) -> Engine | None:
    """The engine of the options, as `misodice fit` takes them."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--env", type=Engine | None, default=None)
    engine: Engine | None = parser.instantiate(parser.parse_args(list(given))).env
    return engine


@cache
def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise MisodiceError(f"{path}: this is not YAML ({error}); correct it") from error
    if not isinstance(content, dict):
        raise MisodiceError(f"{path}: found {type(content).__name__}, expected options of `misodice fit`")
    return dict(in_todays_form(content)[0])
