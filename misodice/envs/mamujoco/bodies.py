"""Bodies of MaMuJoCo, stepped one after another; this module is also run as a process for some of them.

Threads would not do: between two steps of the physics a body spends as long in Python.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import mujoco
import numpy as np

with contextlib.redirect_stderr(io.StringIO()):  # it prints notes on the Adroit hand
    from gymnasium_robotics import mamujoco_v1

from misodice.errors import MisodiceError

# HalfCheetah's XML raises a deprecation warning that MuJoCo would also append to a file in the current folder.
mujoco.set_mju_user_warning(lambda message: None)


class Bodies:
    """B bodies of one task in this process.

    Args:
        task, partition: MaMuJoCo's.
        agent_obsk: depth k of the agents' own observations; None goes without those.
        number: B.
    """

    def __init__(self, task: str, partition: str | None, agent_obsk: int | None, number: int) -> None:
        # Nothing is drawn before `render` asks for it.
        self.envs = [
            mamujoco_v1.parallel_env(task, partition, agent_obsk or 0, render_mode="rgb_array") for _ in range(number)
        ]
        first = self.envs[0]
        self.agents: list[str] = first.possible_agents
        self.joints: list[list[int]] = [[node.act_ids for node in part] for part in first.agent_action_partitions]
        width = 0 if agent_obsk is None else max(space.shape[0] for space in first.observation_spaces.values())
        self.own_observations = agent_obsk is not None
        self.single = np.zeros((number, *first.single_agent_env.observation_space.shape))
        self.local = np.zeros((number, len(self.agents), width))

    def reset(self, seeds: Sequence[int]) -> tuple[np.ndarray, ...]:
        """Begin an episode of each body.

        Returns:
            The single-agent observations [B, ·], and the agents' own [B, n, O], O = 0 without `agent_obsk`; both
            float64, those of fewer entries padded with zeros.
        """
        for i, (env, seed) in enumerate(zip(self.envs, seeds, strict=True)):
            if self.own_observations:
                self._keep(i, env.reset(seed=int(seed))[0])
            else:
                self.single[i], _ = env.single_agent_env.reset(seed=int(seed))
        return self.single.copy(), self.local.copy()

    def step(self, actions: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, ...]:
        """Step the bodies that are `running` [B], by whole bodies' actions [B, Σ], with `agent_obsk` agents' [B, n, A].

        Returns:
            The observations as `reset` has them, reward float32 [B], terminated and truncated [B].
        """
        reward = np.zeros(len(self.envs), np.float32)
        terminated, truncated = np.zeros(len(self.envs), bool), np.zeros(len(self.envs), bool)
        for i in np.flatnonzero(running).tolist():
            env = self.envs[i]
            if self.own_observations:
                joint = dict(zip(self.agents, actions[i], strict=True))
                local, rewards, terminations, truncations, _ = env.step(joint)
                self._keep(i, local)
                agent = self.agents[0]
                reward[i], terminated[i], truncated[i] = rewards[agent], terminations[agent], truncations[agent]
            else:
                self.single[i], reward[i], terminated[i], truncated[i], _ = env.single_agent_env.step(actions[i])
        return self.single.copy(), self.local.copy(), reward, terminated, truncated

    def render(self) -> tuple[np.ndarray]:
        """A picture of each, uint8 [B, H, W, 3]."""
        if sys.platform == "linux":
            # Gymnasium tries windows first, and fails where there is no screen.
            os.environ.setdefault("MUJOCO_GL", "egl")
        try:
            return (np.stack([env.single_agent_env.render() for env in self.envs]),)
        except Exception as error:
            raise MisodiceError(
                f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error}); install the library: "
                "libegl1, or libosmesa6 for MUJOCO_GL=osmesa"
            ) from error

    def close(self) -> None:
        for env in self.envs:
            env.close()

    def _keep(self, i: int, local: dict[str, np.ndarray]) -> None:
        self.single[i] = self.envs[i].state()
        for row, agent in zip(self.local[i], self.agents, strict=True):
            row[: len(local[agent])] = local[agent]


class BodiesProcess:
    """The parent's side of bodies in a process of their own, which ends with the parent.

    Args:
        arguments: those of `Bodies`.
    """

    def __init__(self, *arguments: str | int | None) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        with theirs:
            # As a game's worker a fresh interpreter, and in a session of its own, which Ctrl-C does not reach.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "misodice.envs.mamujoco.bodies", str(theirs.fileno()), json.dumps(arguments)],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def send(self, method: str, *arguments: Any) -> None:
        """Ask for a method of `Bodies`; that the process is gone comes out in `answer`."""
        with suppress(OSError):
            self.connection.send((method, arguments))

    def answer(self) -> tuple[np.ndarray, ...]:
        """What the method returned.

        Raises:
            MisodiceError: the method raised it, or the process is gone.
        """
        try:
            answer: tuple[np.ndarray, ...] | MisodiceError = self.connection.recv()
        except (EOFError, OSError) as error:
            raise MisodiceError(
                f"a process of MuJoCo's bodies ended with status {self.process.wait(10)}; -9 is the system's answer to "
                "too little memory: fewer threads (OMP_NUM_THREADS) make fewer processes"
            ) from error
        if isinstance(answer, MisodiceError):
            raise answer
        return answer

    def close(self) -> None:
        self.connection.close()
        self.process.wait()


def serve(connection: Connection, bodies: Bodies) -> None:
    """Answer until the parent closes its end, or is gone."""
    with suppress(EOFError, OSError):
        while True:
            method, arguments = connection.recv()
            try:
                connection.send(getattr(bodies, method)(*arguments))
            except MisodiceError as error:
                connection.send(error)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])), Bodies(*json.loads(sys.argv[2])))
