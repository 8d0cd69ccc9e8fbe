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
        sample = self._observe(0, *self._reset_body(0, 0))
        n_agents, obs_dim = sample["obs"].shape
        self.set_spaces(n_agents, obs_dim, len(sample["state"]), sizes.pop(), discrete=False)
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
            state_features=[f"state_{i}" for i in range(len(sample["state"]))],
        )

    @property
    def single_obs(self) -> np.ndarray:
        """The single-agent Gymnasium observation of every body, [N, ·]: what the bundled behaviours act on."""
        return self._single

    def global_to_local(self, actions: np.ndarray) -> np.ndarray:
        """Cut actions of the whole body [N, Σ] into the agents' [N, n, A], by the environment's own partition."""
        return np.stack([actions[:, joints] for joints in self._joints], axis=1).astype(np.float32)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)  # type: ignore[arg-type]
        results = [self._reset_body(i, int(s)) for i, s in enumerate(seeds)]
        self._ended = np.zeros(self.num_envs, bool)
        self._last = [self._observe(i, *result) for i, result in enumerate(results)]
        self._single = np.stack([single for single, _ in results])
        return self._stack(), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        workers = self._pool._max_workers

        def advance(worker: int) -> None:
            for i in range(worker, self.num_envs, workers):
                if not self._ended[i]:
                    reward[i], terminated[i], truncated[i] = self._step_body(i, actions[i])

        list(self._pool.map(advance, range(workers)))
        self._ended |= terminated | truncated
        return self._stack(), reward, terminated, truncated, {}

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

    def _reset_body(self, i: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
        body = self._bodies[i]
        if self.layout == "paper":
            return body.single_agent_env.reset(seed=seed)[0], None
        local, _ = body.reset(seed=seed)
        return body.state(), local

    def _step_body(self, i: int, actions: np.ndarray) -> tuple[float, bool, bool]:
        body = self._bodies[i]
        joint = dict(zip(self._agents, np.clip(actions, -1.0, 1.0), strict=True))
        local: dict[str, np.ndarray] | None = None
        if self.layout == "paper":
            action = body.map_local_actions_to_global_action(joint)
            single, reward, terminated, truncated, _ = body.single_agent_env.step(action)
        else:
            local, rewards, terminations, truncations, _ = body.step(joint)
            first = self._agents[0]
            single, reward = body.state(), rewards[first]
            terminated, truncated = terminations[first], truncations[first]
        self._last[i] = self._observe(i, single, local)
        self._single[i] = single
        return float(reward), bool(terminated), bool(truncated)

    def _observe(self, i: int, single: np.ndarray, local: dict[str, np.ndarray] | None) -> Observation:
        n = len(self._agents)
        if local is None:
            if len(single) == 105:
                single = np.insert(single, [ANT_GAP] * ANT_ZEROS, 0.0)
            rows = np.concatenate([np.tile(single, (n, 1)), np.eye(n)], axis=1)
            rows = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
            return {"obs": rows.astype(np.float32), "state": rows.reshape(-1).astype(np.float32)}
        width = max(len(obs) for obs in local.values())
        rows = np.stack([np.pad(local[agent], (0, width - len(local[agent]))) for agent in self._agents])
        return {"obs": rows.astype(np.float32), "state": single.astype(np.float32)}

    def _stack(self) -> Observation:
        return {name: np.stack([o[name] for o in self._last]) for name in ("obs", "state")}
