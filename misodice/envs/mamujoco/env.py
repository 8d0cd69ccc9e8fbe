"""Multi-agent MuJoCo of gymnasium-robotics: a body's joints shared out among agents."""

from __future__ import annotations

import difflib
import os
from importlib.metadata import version
from typing import Any, Literal

import mujoco
import numpy as np

from misodice.data.episodes import Header
from misodice.envs.base import Observation, TeamEnv
from misodice.envs.mamujoco.bodies import Bodies, BodiesProcess
from misodice.errors import MisodiceError
from misodice.runs.processes import CAN_INHERIT

# The paper's Ant has 111 entries: v5's 105 with six zeros where v4 had the world's contact forces.
ANT_GAP, ANT_ZEROS = 27, 6
TASKS = (
    *("Hopper", "Ant", "HalfCheetah", "Walker2d", "Humanoid", "HumanoidStandup", "Swimmer", "Reacher", "Pusher"),
    *("CoupledHalfCheetah", "ManySegmentSwimmer", "ManySegmentAnt"),
)
PARTITIONS = {"Hopper": "3x1", "Ant": "2x4", "HalfCheetah": "6x1"}


def _cores() -> int:
    """What torch goes by; to ask it would make `misodice collect` wait for its import."""
    if not CAN_INHERIT:
        return 1  # the other bodies' processes could not be talked to
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if threads.isdecimal() and int(threads) > 0:  # OpenMP passes over anything else, too
        return int(threads)
    # A cluster's job may have a few of its node's cores; macOS does not tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class MamujocoEnv(TeamEnv):
    """N bodies in OMP_NUM_THREADS processes, or as many as this process may use cores; this one among them.

    Args:
        task: MaMuJoCo scenario: Hopper, Ant, HalfCheetah, Walker2d…
        partition: agents x joints, such as 3x1.
        layout: "paper": every agent observes the whole state and its one-hot id, standardised over its own entries,
            and the state is those side by side. None: `agent_obsk` neighbours, padded to one size.
        agent_obsk: depth k of a partial observation.
        num_envs: bodies simulated at once.
    """

    def __init__(
        self, task: str, partition: str | None, layout: Literal["paper"] | None, agent_obsk: int | None, num_envs: int
    ) -> None:
        if layout is None and agent_obsk is None:
            raise MisodiceError("env: layout null needs agent_obsk (0, 1, …), otherwise there would be one agent only")
        if task not in TASKS:
            near = difflib.get_close_matches(task, TASKS, n=3) or TASKS
            raise MisodiceError(f"env.task: unknown MaMuJoCo task {task!r}; nearest: {', '.join(near)}")
        partition = partition or PARTITIONS.get(task)
        self.num_envs = num_envs
        self.layout = layout
        body = task, partition, None if layout == "paper" else agent_obsk
        self._parts = np.array_split(np.arange(num_envs), min(num_envs, _cores()))
        try:
            self._bodies = Bodies(*body, len(self._parts[0]))
        except Exception as error:
            raise MisodiceError(
                f"env.partition: MaMuJoCo's {task} has no partition {partition!r} ({error}); for example Hopper 3x1, "
                "Ant 2x4, HalfCheetah 6x1, Walker2d 2x3"
            ) from error
        self._joints = self._bodies.joints
        sizes = {len(joints) for joints in self._joints}
        if len(sizes) > 1:
            raise MisodiceError(f"env.partition {partition}: agents with {sorted(sizes)} joints; all must have as many")
        self._processes = [BodiesProcess(*body, len(part)) for part in self._parts[1:]]
        single = self._bodies.envs[0].single_agent_env
        self.metadata = {**self.metadata, "render_fps": single.metadata["render_fps"]}
        self._single, self._local = self._bodies.single, self._bodies.local
        sample = self._observe()
        n_agents, obs_dim = sample["obs"].shape[1:]
        self.set_spaces(n_agents, obs_dim, sample["state"].shape[1], sizes.pop(), discrete=False)
        self.header = Header(
            env={
                "engine": "mamujoco",
                "task": task,
                "partition": partition,
                "layout": layout,
                "agent_obsk": agent_obsk,
                "version": f"gymnasium-robotics {version('gymnasium-robotics')}, mujoco {mujoco.__version__}",
            },
            obs_features=[f"obs_{i}" for i in range(obs_dim)],
            state_features=[f"state_{i}" for i in range(self.state_dim)],
        )

    @property
    def single_obs(self) -> np.ndarray:
        """The single-agent Gymnasium observation of every body, [N, ·]."""
        return self._single

    def from_actuators(self, actions: np.ndarray) -> np.ndarray:
        """Cut actions of the whole body [L, Σ] into the agents' [L, n, A], by the environment's own partition."""
        return np.stack([actions[:, joints] for joints in self._joints], axis=1).astype(np.float32)

    def to_actuators(self, actions: np.ndarray) -> np.ndarray:
        """Put the agents' actions [L, n, A] together to those of the whole body [L, Σ], float64."""
        whole = np.zeros((len(actions), sum(map(len, self._joints))))
        whole[:, np.concatenate(self._joints)] = actions.reshape(len(actions), -1)
        return whole

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)  # type: ignore[arg-type]
        self._single, self._local = self._all("reset", seeds)
        self._running = np.ones(self.num_envs, bool)
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        actions = np.clip(actions, -1.0, 1.0)
        if not self._bodies.own_observations:
            actions = self.to_actuators(actions)
        self._single, self._local, reward, terminated, truncated = self._all("step", actions, self._running)
        self._running &= ~(terminated | truncated)
        return self._observe(), reward, terminated, truncated, {}

    def render(self) -> tuple[np.ndarray, ...]:
        return tuple(self._all("render")[0])

    def close_extras(self, **kwargs: Any) -> None:
        self._bodies.close()
        for process in self._processes:
            process.close()

    def _all(self, method: str, *arguments: np.ndarray) -> list[np.ndarray]:
        """A method of all bodies at once, each process with its part of `arguments`."""
        for process, part in zip(self._processes, self._parts[1:], strict=True):
            process.send(method, *(argument[part] for argument in arguments))
        own = getattr(self._bodies, method)(*(argument[self._parts[0]] for argument in arguments))
        results = [own, *(process.answer() for process in self._processes)]
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def _observe(self) -> Observation:
        """Of all bodies at once: row by row it would take as long as the physics."""
        if self.layout is None:
            return {"obs": self._local.astype(np.float32), "state": self._single.astype(np.float32)}
        n, single = len(self._joints), self._single
        if single.shape[1] == 105:
            single = np.insert(single, [ANT_GAP] * ANT_ZEROS, 0.0, axis=1)
        ids = np.broadcast_to(np.eye(n), (len(single), n, n))
        rows = np.concatenate([np.repeat(single[:, None], n, axis=1), ids], axis=2)
        rows = (rows - rows.mean(axis=2, keepdims=True)) / rows.std(axis=2, keepdims=True)
        obs = rows.astype(np.float32)
        return {"obs": obs, "state": obs.reshape(len(obs), -1)}
