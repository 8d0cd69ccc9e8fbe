"""Size, seconds and peak memory of converting files of paper size: python perf/convert.py [FOLDER [WORD]]

Files of each layout are made of random numbers in FOLDER (default: a temporary one), converted by a process of its own
each, and removed. Seconds of the processor too, for a machine that has other work. OG-MARL's needs flashbax and is left
out without it. WORD: only files whose line contains it.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from misodice.conversion import convert
from misodice.envs import Engine, MaMuJoCo, StarCraft2

rng = np.random.default_rng(0)
HOPPER, CHEETAH = MaMuJoCo("Hopper", "3x1"), MaMuJoCo("HalfCheetah", "6x1")
ZERG, TERRAN, MARINES = (StarCraft2(task) for task in ("zerg_5_vs_5", "terran_20_vs_20", "5m_vs_6m"))
Fields = dict[str, np.ndarray]


def floats(*shape: int) -> np.ndarray:
    return rng.uniform(-0.9, 0.9, shape).astype(np.float32)


def padded(steps: int, n: int, obs: int, state: int, actions: int, discrete: bool, extra: int = 0) -> Fields:
    """One padded episode; a discrete one has between half and all of its steps."""
    length = int(rng.integers(steps // 2, steps + 1)) if discrete else steps
    active = np.arange(steps) < length
    fields = {"states": floats(steps + 1, state), "obs": floats(steps + 1, n, obs), "rewards": floats(steps)}
    fields |= {"actives": active, "dones": np.arange(steps) == length - 1}
    if discrete:
        return {
            **fields,
            "actions": rng.integers(0, actions, (steps, n)),
            "avails": np.ones((steps + 1, n, actions), np.float32),
        }
    return {**fields, "actions": 4 * floats(steps + extra, n, actions)}


def omapl(path: Path, pairs: int, **shape: int) -> Path:
    with h5py.File(path, "w") as file:
        for index in range(pairs):
            for side in "xy":
                for field, values in padded(**shape).items():
                    values = values.astype(np.float32) if values.dtype == bool else values
                    name = f"{field}_{side}"
                    if name not in file:
                        file.create_dataset(name, (pairs, *values.shape), values.dtype)
                    file[name][index] = values
        file["labels"] = (rng.random(pairs) < 0.5).astype(np.float32)
    return path


def comadice(path: Path, episodes: int, **shape: int) -> Path:
    def blocks(field: str) -> Iterator[np.ndarray]:
        # Lengths must agree between the fields: the same episodes are drawn anew for each.
        global rng
        rng = np.random.default_rng(1)
        return (padded(**shape)[field] for _ in range(episodes))

    with zipfile.ZipFile(path, "w") as archive:
        for field in padded(**shape):
            first, drawn = True, blocks(field)
            with archive.open(f"{field}.npy", "w", force_zip64=True) as file:
                for values in drawn:
                    if first:
                        header = {"descr": values.dtype.str, "fortran_order": False, "shape": (episodes, *values.shape)}
                        np.lib.format.write_array_header_1_0(file, header)
                        first = False
                    file.write(values.tobytes())
    return path


def omiga(path: Path, episodes: int, steps: int, n: int, obs: int, actions: int) -> Path:
    rows = episodes * (steps + 1)
    with h5py.File(path, "w") as file:
        for name, tail in {"s": (n, obs), "o": (n, obs), "a": (n, actions), "r": (1,), "d": (1,)}.items():
            dataset = file.create_dataset(name, (rows, *tail), np.float32)
            for start in range(0, rows, steps + 1):
                values = floats(steps + 1, *tail)
                if name in "ar":
                    values[-1] = 0
                elif name == "d":
                    values[:] = (np.arange(steps + 1) == steps)[:, None]
                dataset[start : start + steps + 1] = values
    return path


def omiga_smac(path: Path, episodes: int, steps: int, n: int, obs: int, state: int, actions: int) -> Path:
    path.mkdir()
    ones = np.ones(actions)
    for index in range(episodes):
        agents = [
            [
                [floats(state), floats(obs), [int(rng.integers(actions))], [0.1], t == steps - 1, ones]
                for t in range(steps)
            ]
            for _ in range(n)
        ]
        torch.save(agents, path / f"{index:05d}")
    return path


def og_marl(path: Path, steps: int, length: int, n: int, obs: int, state: int, actions: int) -> Path:
    import jax.numpy as jnp
    from flashbax.buffers.trajectory_buffer import TrajectoryBufferState
    from flashbax.vault import Vault

    block = 50 * length
    ends = np.repeat((np.arange(block + 1) % length == length - 1)[None, :, None], n, axis=2)
    tree = {
        "observations": jnp.asarray(floats(1, block + 1, n, obs)),
        "actions": jnp.asarray(rng.integers(0, actions, (1, block + 1, n)), jnp.int32),
        "rewards": jnp.asarray(floats(1, block + 1, n)),
        "terminals": jnp.asarray(ends),
        "truncations": jnp.zeros_like(ends),
        "infos": {
            "state": jnp.asarray(floats(1, block + 1, state)),
            "legals": jnp.ones((1, block + 1, n, actions), jnp.float32),
        },
    }
    vault = Vault(path.parent.name, tree, str(path.parent.parent), path.name)
    for _ in range(steps // block):
        state_of_buffer = TrajectoryBufferState(
            experience=tree, current_index=jnp.array(block), is_full=jnp.array(False)
        )
        vault.write(state_of_buffer, source_interval=(0, block))
    return path


def measure(path: Path, output: Path, engine: Engine, channel: object) -> None:
    """In a process of its own, whose peak is that of the conversion and of what it imports."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    before, started, worked = peak(), time.perf_counter(), time.process_time()
    done = convert(path, output, engine)
    seconds, busy = time.perf_counter() - started, time.process_time() - worked
    channel.send((seconds, busy, peak(), peak() - before, done))  # type: ignore[attr-defined]


def size(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


MUJOCO = {"steps": 1000, "n": 3, "obs": 14, "state": 42, "actions": 1, "discrete": False}
SMAC = {"steps": 60, "n": 5, "obs": 82, "state": 120, "actions": 11, "discrete": True}
TEAM = {"steps": 60, "n": 20, "obs": 322, "state": 780, "actions": 26, "discrete": True}
CASES: dict[str, tuple[Engine, Callable[[Path], Path]]] = {
    "O-MAPL, Hopper, 1000 pairs": (HOPPER, lambda f: omapl(f / "hopper.h5", 1000, **MUJOCO)),
    "O-MAPL, zerg_5_vs_5, 2000 pairs": (ZERG, lambda f: omapl(f / "zerg.h5", 2000, **SMAC)),
    "ComaDICE, Hopper, 1200 episodes": (HOPPER, lambda f: comadice(f / "hopper.npz", 1200, **MUJOCO, extra=1)),
    "ComaDICE, terran_20_vs_20, 1000 episodes": (TERRAN, lambda f: comadice(f / "terran.npz", 1000, **TEAM)),
    "OMIGA, HalfCheetah, 1.2 million rows": (CHEETAH, lambda f: omiga(f / "hc.hdf5", 1200, 1000, 6, 23, 1)),
    "OMIGA SMACv1, 5m_vs_6m, 1200 files": (MARINES, lambda f: omiga_smac(f / "good", 1200, 24, 5, 124, 156, 12)),
    "OG-MARL, 5m_vs_6m, 0.5 million steps": (
        MARINES,
        lambda f: og_marl(f / "5m_vs_6m.vlt" / "Good", 500_000, 25, 5, 124, 156, 12),
    ),
}


def main(folder: Path, word: str) -> None:
    print("| file | size, MB | seconds | processor | peak memory, MB | of it converting | episodes | transitions |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, (engine, make) in CASES.items():
        if word not in name or (name.startswith("OG-MARL") and importlib.util.find_spec("flashbax") is None):
            continue
        with tempfile.TemporaryDirectory(dir=folder) as made:
            path = make(Path(made))
            # Not forked: a fork's peak is its parent's, and a parent that used jax must not be forked.
            context = multiprocessing.get_context("spawn")
            receive, send = context.Pipe(duplex=False)
            process = context.Process(target=measure, args=(path, Path(made) / "out.h5", engine, send))
            process.start()
            send.close()
            seconds, busy, peak, more, done = receive.recv()
            process.join()
            print(
                f"| {name} | {size(path):.0f} | {seconds:.1f} | {busy:.1f} | {peak:.0f} | {more:.0f} | "
                f"{done.episodes} | {done.steps} |",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()), "".join(sys.argv[2:3]))
