"""Damaged files end in the importer's own error or in a valid file: never a crash, a hang or a half-written one.

N_BYTES files of each layout have bytes changed, cut out or put in; N_FIELDS have fields whose values, types or shapes
are changed. A batch of cases runs in a process of its own, so that a crash of a library's C code would be seen, and
one that hangs would be ended.
"""

import multiprocessing
import random
import warnings
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from rich.console import Console

from misodice.conversion import convert
from misodice.data.episodes import Episode, Episodes
from misodice.data.importers import og_marl
from misodice.data.preferences import Preferences
from misodice.envs import Engine, MaMuJoCo, Outline, StarCraft2
from misodice.errors import MisodiceError
from tests.helpers.foreign import (
    experience,
    make_episodes,
    nested,
    padded,
    write_comadice,
    write_omapl,
    write_omiga,
    write_omiga_smac,
)

N_BYTES = 150
MANY_BYTES = 1000
"""In the slow suite."""
N_FIELDS = 100
LIMIT = 400
"""Seconds for one batch: it needs a tenth of that."""
HOPPER = MaMuJoCo("Hopper", "3x1")
MARINES = StarCraft2("5m_vs_6m")


def episodes_of(discrete: bool) -> list[Episode]:
    sizes = {"n": 2, "obs": 2, "actions": 3} if discrete else {"n": 3, "obs": 2, "actions": 1}
    return make_episodes(5, [3, 2, 4], discrete, **sizes)


def valid_file(name: str, folder: Path) -> tuple[Path, Engine]:
    pairs = [(0, 1), (2, 1)]
    if name == "omapl":
        return write_omapl(folder / "x.h5", episodes_of(True), pairs, [1, 0]), MARINES
    if name == "omapl gzip":
        return write_omapl(folder / "x.h5", episodes_of(True), pairs, [1, 0], compression="gzip", shuffle=True), MARINES
    if name == "comadice":
        return write_comadice(folder / "x.npz", episodes_of(True)), MARINES
    if name == "comadice compressed":
        np.savez_compressed(folder / "x.npz", **padded(episodes_of(True)))
        return folder / "x.npz", MARINES
    if name == "omiga":
        return write_omiga(folder / "x.hdf5", episodes_of(False), tail=1), HOPPER
    path = write_omiga_smac(folder / "good", episodes_of(True)[:1]) / "episode_0000"
    if name == "omiga_smac legacy":
        torch.save(nested(episodes_of(True)[0]), path, _use_new_zipfile_serialization=False)
    return path, MARINES


def damage(content: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut out, put in, or the end cut off."""
    data = bytearray(content)
    # Half of the damage is done where a file describes itself, its beginning.
    place = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 2048))
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.randrange(1, 9)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    elif kind == 2:
        data[place : place + 8] = rng.choice([b"\xff" * 8, b"\0" * 8, rng.randbytes(8)])
    elif kind == 3:
        del data[place : place + rng.randrange(1, 64)]
    elif kind == 4:
        data[place:place] = rng.randbytes(rng.randrange(1, 64))
    else:
        del data[place:]
    return bytes(data)


def attempt(path: Path, engine: Engine) -> str:
    """Convert; a crash is an exception of another kind, which ends the batch."""
    output = path.with_name("out.h5")
    try:
        convert(path, output, engine, console=Console(quiet=True))
    except MisodiceError as error:
        outcome, message = "refused", str(error)
    else:
        episodes = Episodes.read(output)
        answers = output.with_suffix(".preferences.jsonl")
        if answers.exists():
            assert Preferences.read(answers).pairs.max(initial=0) < episodes.n_episodes
        outcome, message = "valid", str(path)
    assert str(path) in message, message
    left = {p.name for p in path.parent.iterdir()} - {path.name, "out.h5", "out.preferences.jsonl"}
    assert not left, left
    assert output.exists() == (outcome == "valid")
    for made in path.parent.glob("out.*"):
        made.unlink()
    return outcome


def batch(name: str, count: int, folder: Path, channel) -> None:
    path, engine = valid_file(name, folder)
    content, rng, outcomes = path.read_bytes(), random.Random(name), Counter()
    assert attempt(path, engine) == "valid"
    for case in range(count):
        damaged = damage(content, rng)
        path.write_bytes(damaged)
        try:
            outcomes[attempt(path, engine)] += 1
        except BaseException as error:
            channel.send(f"case {case}: {type(error).__name__}: {error}")
            raise
    channel.send(outcomes)


@pytest.mark.parametrize("count", [N_BYTES, pytest.param(MANY_BYTES, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    [
        *("omapl", "comadice", "omiga", "omiga_smac", "omiga_smac legacy"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("omapl gzip", "comadice compressed")),
    ],
)
def test_damaged_bytes(name, count, tmp_path, monkeypatch):
    # The environment is beside the point here, and making it would take most of the time.
    monkeypatch.setattr("misodice.conversion._target", target_without_environment)
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=batch, args=(name, count, tmp_path, send))
    process.start()
    send.close()
    outcomes: object = "hangs"
    if receive.poll(LIMIT):
        try:
            outcomes = receive.recv()
        except EOFError:
            outcomes = "crashes"
    process.kill()
    process.join()
    assert isinstance(outcomes, Counter), outcomes
    assert sum(outcomes.values()) == count


def target_without_environment(engine, importer, first):
    from misodice.conversion import Target

    return Target({"engine": engine.name, "task": engine.task}, Outline({}))


def values(shape: tuple[int, ...]):
    """Arrays that are nearly right: another type, shape, or a value that does not belong."""
    kinds = st.sampled_from(["f4", "f8", "f2", "i4", "u1", "?", "S3", "c8", ">f4"])
    shapes = st.one_of(
        st.just(shape),
        st.just(shape[:-1]),
        st.just((*shape, 1)),
        st.integers(0, len(shape) - 1).map(lambda i: tuple(max(0, n - (j == i)) for j, n in enumerate(shape))),
        st.integers(0, len(shape) - 1).map(lambda i: tuple(n + (j == i) for j, n in enumerate(shape))),
    )
    fills = st.sampled_from([0, 1, -1, 2, 0.5, 1e30, 1e300, float("nan"), float("inf"), -(2**31)])
    return st.tuples(kinds, shapes, fills, st.floats(0, 1), st.booleans())


def changed(original: np.ndarray, change) -> np.ndarray:
    kind, shape, fill, place, whole = change
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if whole or shape != original.shape or not original.size:
            return np.full(shape, fill).astype(kind)
        result = original.astype(kind)
        if kind not in ("S3",):
            flat = result.reshape(-1)
            flat[int(place * (flat.size - 1)) :][:1] = np.full(1, fill).astype(kind)
    return result


@pytest.mark.parametrize("name", ["omapl", "comadice", "omiga"])
def test_changed_fields(name, tmp_path, monkeypatch):
    monkeypatch.setattr("misodice.conversion._target", target_without_environment)
    path, engine = valid_file(name, tmp_path)
    if name == "comadice":
        with np.load(path) as archive:
            fields = {field: archive[field] for field in archive.files}
    else:
        with h5py.File(path) as file:
            fields = {field: file[field][:] for field in file}

    @settings(max_examples=N_FIELDS, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def change_some(data) -> None:
        damaged = dict(fields)
        for field in data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3, unique=True)):
            if data.draw(st.integers(0, 9)) == 0:
                damaged.pop(field, None)
            else:
                damaged[field] = changed(fields[field], data.draw(values(fields[field].shape)))
        if name == "comadice":
            np.savez(path, **damaged)
        else:
            with h5py.File(path, "w") as file:
                for field, content in damaged.items():
                    file[field] = content
        attempt(path, engine)

    change_some()


@settings(max_examples=N_FIELDS)
@given(st.data())
def test_changed_experience(data):
    arrays = experience(episodes_of(True))
    for field in data.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=3, unique=True)):
        arrays[field] = changed(arrays[field], data.draw(values(arrays[field].shape)))
    try:
        og_marl.check_structure("vault", {name: content.shape for name, content in arrays.items()})
        found = list(og_marl.cut("vault", [arrays], Counter()))
    except MisodiceError as error:
        message, found = str(error), []
    else:
        message = "vault"
    assert "vault" in message
    assert all(len(episode.obs) == len(episode.actions) + 1 for episode in found)


@settings(max_examples=N_FIELDS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_nested_lists(tmp_path, data):
    episode = nested(episodes_of(True)[0])
    odd = st.one_of(
        st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.integers(), st.lists(st.floats(), max_size=3)
    )
    for _ in range(data.draw(st.integers(1, 3))):
        agent = data.draw(st.integers(0, len(episode) - 1))
        step = data.draw(st.integers(0, len(episode[agent]) - 1)) if episode[agent] else None
        if step is None or data.draw(st.integers(0, 4)) == 0:
            episode[agent] = data.draw(st.one_of(odd, st.just([]))) if data.draw(st.booleans()) else episode[agent][:-1]
            break
        entry = data.draw(st.integers(0, 5))
        episode[agent][step][entry] = data.draw(odd)
    path = tmp_path / "episode_0"
    torch.save(episode, path)
    attempt(path, MARINES)
