"""Multi-agent MuJoCo of gymnasium-robotics: a body's joints shared out among agents."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, Literal

import mujoco
import numpy as np

with contextlib.redirect_stderr(io.StringIO()):  # it prints notes on the Adroit hand
    from gymnasium_robotics import mamujoco_v1

from misodice.data.episodes import Header
from misodice.envs.base import Observation, TeamEnv
from misodice.errors import MisodiceError

# HalfCheetah's XML raises a deprecation warning that MuJoCo would also append to a file in the current folder.
mujoco.set_mju_user_warning(lambda message: None)

# The paper's Ant has 111 entries: v5's 105 with six zeros where v4 had the world's contact forces.
ANT_GAP, ANT_ZEROS = 27, 6
TASKS = (
    *("Hopper", "Ant", "HalfCheetah", "Walker2d", "Humanoid", "HumanoidStandup", "Swimmer", "Reacher", "Pusher"),
    *("CoupledHalfCheetah", "ManySegmentSwimmer", "ManySegmentAnt"),
)
PARTITIONS = {"Hopper": "3x1", "Ant": "2x4", "HalfCheetah": "6x1"}


class MamujocoEnv(TeamEnv):
    """N bodies, stepped by one thread a core (MuJoCo's physics releases Python's lock).

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
        try:
            self._bodies = [
                # Nothing is drawn before `render` asks for it.
                mamujoco_v1.parallel_env(task, partition, agent_obsk or 0, render_mode="rgb_array")
                for _ in range(num_envs)
            ]
        except Exception as error:
            raise MisodiceError(
                f"env.partition: MaMuJoCo's {task} has no partition {partition!r} ({error}); for example Hopper 3x1, "
                "Ant 2x4, HalfCheetah 6x1, Walker2d 2x3"
            ) from error
        body = self._bodies[0]
        self._agents = body.possible_agents
        self.metadata = {**self.metadata, "render_fps": body.single_agent_env.metadata["render_fps"]}
        self._joints = [[node.act_ids for node in part] for part in body.agent_action_partitions]
        sizes = {len(joints) for joints in self._joints}
        if len(sizes) > 1:
            raise MisodiceError(f"env.partition {partition}: agents with {sorted(sizes)} joints; all must have as many")
        self._pool = ThreadPoolExecutor(min(num_envs, os.cpu_count() or 1))
        self._width = max(space.shape[0] for space in body.observation_spaces.values())
        self._single = np.zeros((num_envs, *body.single_agent_env.observation_space.shape))
        self._local = np.zeros((num_envs, len(self._agents), self._width))
        self._reset_body(0, 0)
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
        """The single-agent Gymnasium observation of every body, [N, ·]: what the bundled behaviours act on."""
        return self._single

    def global_to_local(self, actions: np.ndarray) -> np.ndarray:
        """Cut actions of the whole body [N, Σ] into the agents' [N, n, A], by the environment's own partition."""
        return np.stack([actions[:, joints] for joints in self._joints], axis=1).astype(np.float32)

    def _local_to_global(self, actions: np.ndarray) -> np.ndarray:
        """The agents' actions [N, n, A] as those of the whole body [N, Σ]."""
        whole = np.zeros((len(actions), self._bodies[0].single_agent_env.action_space.shape[0]))
        whole[:, np.concatenate(self._joints)] = actions.reshape(len(actions), -1)
        return whole

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)  # type: ignore[arg-type]
        for i, s in enumerate(seeds):
            self._reset_body(i, int(s))
        self._ended = np.zeros(self.num_envs, bool)
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        workers = self._pool._max_workers
        actions = np.clip(actions, -1.0, 1.0)
        whole = self._local_to_global(actions)

        def advance(worker: int) -> None:
            for i in range(worker, self.num_envs, workers):
                if not self._ended[i]:
                    reward[i], terminated[i], truncated[i] = self._step_body(i, whole[i], actions[i])

        list(self._pool.map(advance, range(workers)))
        self._ended |= terminated | truncated
        return self._observe(), reward, terminated, truncated, {}

    def render(self) -> tuple[np.ndarray, ...]:
        if sys.platform == "linux":
            # Gymnasium tries windows first, and fails where there is no screen.
            os.environ.setdefault("MUJOCO_GL", "egl")
        try:
            return tuple(body.single_agent_env.render() for body in self._bodies)
        except Exception as error:
            raise MisodiceError(
                f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error}); install the library: "
                "libegl1, or libosmesa6 for MUJOCO_GL=osmesa"
            ) from error

    def close_extras(self, **kwargs: Any) -> None:
        self._pool.shutdown()
        for body in self._bodies:
            body.close()

    def _reset_body(self, i: int, seed: int) -> None:
        body = self._bodies[i]
        if self.layout == "paper":
            self._single[i], _ = body.single_agent_env.reset(seed=seed)
        else:
            self._keep_local(i, body.reset(seed=seed)[0])

    def _step_body(self, i: int, whole: np.ndarray, actions: np.ndarray) -> tuple[float, bool, bool]:
        """One step of body i with the whole body's actions [Σ], and the agents' [n, A]."""
        body = self._bodies[i]
        if self.layout == "paper":
            self._single[i], reward, terminated, truncated, _ = body.single_agent_env.step(whole)
            return float(reward), bool(terminated), bool(truncated)
        local, rewards, terminations, truncations, _ = body.step(dict(zip(self._agents, actions, strict=True)))
        self._keep_local(i, local)
        first = self._agents[0]
        return float(rewards[first]), bool(terminations[first]), bool(truncations[first])

    def _keep_local(self, i: int, local: dict[str, np.ndarray]) -> None:
        self._single[i] = self._bodies[i].state()
        for row, agent in zip(self._local[i], self._agents, strict=True):
            row[: len(local[agent])] = local[agent]

    def _observe(self) -> Observation:
        """Of all bodies at once: row by row it would take as long as the physics."""
        if self.layout is None:
            return {"obs": self._local.astype(np.float32), "state": self._single.astype(np.float32)}
        n, single = len(self._agents), self._single
        if single.shape[1] == 105:
            single = np.insert(single, [ANT_GAP] * ANT_ZEROS, 0.0, axis=1)
        ids = np.broadcast_to(np.eye(n), (self.num_envs, n, n))
        rows = np.concatenate([np.repeat(single[:, None], n, axis=1), ids], axis=2)
        rows = (rows - rows.mean(axis=2, keepdims=True)) / rows.std(axis=2, keepdims=True)
        obs = rows.astype(np.float32)
        return {"obs": obs, "state": obs.reshape(self.num_envs, -1)}
