"""A worker process without a game: python fake_game.py LEDGER FAULT FD TASK.

Episodes have 4 steps; everything in them follows from the seed. Starts and resets are written to the file LEDGER. FAULT
is "none" or {when}:{what}:{starts}: at "spec", "launch", "reset", "heuristic" or "step3" (the third of an episode) it
will "exit", "hang" or "fail", or wait for the file LEDGER.gate ("gate"), in as many of the first starts.
"""

import os
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

N_AGENTS, N_ACTIONS, LENGTH = 2, 8, 4
STATE = ["ally_health_0", "ally_cooldown_0", "ally_health_1", "ally_unit_type_1_bit_2", "enemy_relative_x_0"]
OBS = ["move_action_north", "enemy_shootable_0", "ally_visible_1", "own_health"]

ledger, fault = Path(sys.argv[1]), sys.argv[2]
connection = Connection(int(sys.argv[3]))
with ledger.open("a") as file:
    file.write(f"start {os.getpid()}\n")
when, what, starts = (fault if fault != "none" else "never:none:0").split(":")
faulty = ledger.read_text().count("start") <= int(starts)


def reach(point: str) -> None:
    if not faulty or point != when:
        return
    if what == "exit":
        print("segmentation fault of a fake game", flush=True)
        os._exit(3)
    if what == "fail":
        connection.send(("failed", "ProtocolError: game has ended"))
        os._exit(1)
    while what == "hang" or not ledger.with_suffix(".gate").exists():
        time.sleep(0.01)


def observed(seed: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, step])
    available = rng.random((N_AGENTS, N_ACTIONS)) < 0.5
    available[:, 1] = True
    obs = rng.random((N_AGENTS, len(OBS)), np.float32)
    return obs, np.full(len(STATE), seed % 2**16 + step, np.float32), available


def serve() -> None:
    reach("spec")
    sizes = [N_AGENTS, len(OBS), len(STATE), N_ACTIONS]
    spec = {"sizes": sizes, "obs_features": OBS, "state_features": STATE, "map_file": "32x32_flat", "version": "fake"}
    connection.send(("spec", spec))
    reach("launch")
    seed = step = 0
    while True:
        method, *arguments = connection.recv()
        if method == "reset":
            seed, step = arguments[0], 0
            with ledger.open("a") as file:
                file.write(f"reset {seed}\n")
        step += method == "step"
        reach(f"step{step}" if method == "step" else method)
        if method == "heuristic":
            connection.send(("ok", np.ones(N_AGENTS, np.int64)))
        elif method == "reset":
            connection.send(("ok", observed(seed, 0)))
        else:
            over, lasting = step == LENGTH, seed % 3 == 0
            outcome = (float(step), over and not lasting, over and lasting, over and seed % 2 == 0)
            connection.send(("ok", (observed(seed, step), *outcome)))


def end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()
serve()
