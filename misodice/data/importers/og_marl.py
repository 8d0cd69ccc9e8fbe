"""OG-MARL's vaults: one stream of steps, read through flashbax, which wrote it."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from misodice.data.episodes import Episode
from misodice.data.importers.base import (
    Importer,
    as_actions,
    as_flags,
    as_floats,
    check_size,
    fault,
    fits,
    of_all_agents,
    reading,
    without_last_observation,
)
from misodice.errors import MisodiceError

REQUIRED = ("observations", "actions", "rewards", "terminals", "infos.state")
OPTIONAL = ("truncations", "infos.legals")
METADATA = "metadata.json"
Experience = Mapping[str, np.ndarray]


class OGMARLImporter(Importer):
    """A vault's folder `{name}.vlt/{uid}`: `observations`, `actions`, `rewards`, `terminals`, `infos` [1, T, n, …].

    Read a hundredth at a time.
    """

    name = "og_marl"
    layout = "an OG-MARL vault, the folder {name}.vlt/{uid} with its metadata.json"
    unit = "steps"
    last_observation = "repeated"
    actuators = "as stored"

    def open(self) -> None:
        with reading(self.path, f"a vault's {METADATA}"):
            metadata = json.loads((self.path / METADATA).read_text(encoding="utf-8"))
            shapes = {name: ast.literal_eval(shape) for name, shape in _flat(metadata["structure_shape"]).items()}
            self.options = {key: value for key, value in metadata.items() if not key.startswith("structure_")}
        check_structure(self.path, shapes)
        self.discrete = len(shapes["actions"]) == 3
        try:
            from flashbax.vault import Vault
        except ImportError as error:
            raise MisodiceError(
                f"{self.path}: a vault is read with flashbax, which is missing ({error}): "
                "pip install 'misodice[og-marl]'"
            ) from error
        path = self.path.resolve()
        with reading(self.path, "a vault"), contextlib.redirect_stdout(io.StringIO()):
            self.vault = Vault(vault_name=path.parent.name, rel_dir=str(path.parent.parent), vault_uid=path.name)
            self.total = int(self.vault.vault_index)
        self.checked_total()

    def _blocks(self) -> Iterator[Experience]:
        for percent in range(100):
            with reading(self.path, "a vault"):
                experience = self.vault.read(percentiles=(percent, percent + 1)).experience
                block = {name: np.asarray(values) for name, values in _flat(experience).items()}
            yield block

    def peak(self) -> float:
        blocks = (as_floats(self.path, "actions", block["actions"]) for block in self._blocks())
        return max(float(np.abs(actions).max(initial=0.0)) for actions in blocks)

    def episodes(self) -> Iterator[Episode]:
        def counted() -> Iterator[Experience]:
            for block in self._blocks():
                yield block
                self.done += block["actions"].shape[1]

        yield from cut(self.path, counted(), self.skipped)


def check_structure(where: object, shapes: Mapping[str, Any]) -> None:
    """Hold the shapes of a vault's arrays against each other.

    Raises:
        MisodiceError: an array is missing, or a shape does not fit the others.
    """
    for name in REQUIRED:
        if name not in shapes:
            raise fault(where, name, f"no such array among {sorted(shapes)[:20]}", OGMARLImporter.layout)
    for name in (*REQUIRED, *OPTIONAL):
        shape = shapes.get(name)
        if name in shapes and not (
            isinstance(shape, tuple) and len(shape) >= 2 and all(type(i) is int and i > 0 for i in shape)
        ):
            raise fault(where, name, shape, "a shape [1, T, …]")
    n = shapes["observations"][2] if len(shapes["observations"]) == 4 else 0
    expected: dict[str, tuple[tuple[int | None, ...], ...]] = {
        "observations": ((n, None),),
        "actions": ((n,), (n, None)),
        "infos.state": ((None,), (n, None)),
        "infos.legals": ((n, None),),
        **dict.fromkeys(("rewards", "terminals", "truncations"), ((n,),)),
    }
    for name, tails in expected.items():
        if name not in shapes:
            continue
        batch, tail = shapes[name][0], shapes[name][2:]
        if batch != 1 or not any(fits(tail, expected_tail) for expected_tail in tails):
            raise fault(where, name, list(shapes[name]), f"[1, T, {n}, …] beside observations [1, T, n, O]")
        check_size(where, f"{name}, a step", tail, np.dtype(np.float64))
    if len(shapes["actions"]) == 3 and "infos.legals" not in shapes:
        raise fault(where, "infos.legals", "nothing", f"[1, T, {n}, A] beside discrete actions")


def cut(where: object, blocks: Iterable[Experience], skipped: Counter[str]) -> Iterator[Episode]:
    """Episodes of a stream of experience, whose blocks [1, t, n, …] may end anywhere.

    A step's row has what was observed before it and whether the episode ended with it: the last observation is not
    there. Steps after the last end are an episode that was cut off, and are left out.

    Raises:
        MisodiceError: arrays of different lengths, values that are not finite, or an action that was not available.
    """
    rest: dict[str, np.ndarray] = {}
    index = 0
    for block in blocks:
        rows = {name: block[name][0] for name in (*REQUIRED, *OPTIONAL) if name in block}
        if len({len(values) for values in rows.values()}) > 1:
            raise fault(where, "arrays", {name: len(values) for name, values in rows.items()}, "equal numbers of steps")
        rows = {name: np.concatenate([rest[name], values]) if rest else values for name, values in rows.items()}
        ended = as_flags(where, "terminals", rows["terminals"])
        if "truncations" in rows:
            ended = ended | as_flags(where, "truncations", rows["truncations"])
        start = 0
        for end in (np.flatnonzero(of_all_agents(ended)) + 1).tolist():
            yield _episode(f"{where}, episode {index}", {name: values[start:end] for name, values in rows.items()})
            start, index = end, index + 1
        rest = {name: values[start:] for name, values in rows.items()}
        check_size(where, "an episode", rest["observations"].shape, rest["observations"].dtype)
    if rest and len(rest["actions"]):
        skipped[f"episode that the vault's end cuts off ({len(rest['actions'])} steps)"] += 1


def _episode(where: str, rows: dict[str, np.ndarray]) -> Episode:
    obs = as_floats(where, "observations", rows["observations"])
    state = as_floats(where, "infos.state", rows["infos.state"])
    truncated = None
    if "truncations" in rows:
        truncated = of_all_agents(as_flags(where, "truncations", rows["truncations"]))
    available = None
    if rows["actions"].ndim == 2:
        available = as_flags(where, "infos.legals", rows["infos.legals"])
        actions = as_actions(where, "actions", rows["actions"], available)
    else:
        actions = as_floats(where, "actions", rows["actions"])
    rewards = as_floats(where, "rewards", rows["rewards"])
    return without_last_observation(obs, state, actions, rewards, available, truncated)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves
