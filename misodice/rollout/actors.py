"""Who plays: at random, a small network in an npz file, a trained policy, or a class of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from misodice.envs.base import Actor, Observation, TeamEnv
from misodice.envs.engine import Engine
from misodice.errors import MisodiceError
from misodice.modules.policy import Policy
from misodice.runs.parts import import_class


class ActingPolicy(Protocol):
    """What a stage must have to be rolled out."""

    training: bool

    @property
    def device(self) -> Any:
        """Where its numbers are."""

    def act(self, obs: Tensor, available_actions: Tensor | None) -> Tensor:
        """Greedy joint actions, int64 [B, n] or float [B, n, A], for obs [B, n, O] and a mask bool [B, n, A]."""

    def eval(self) -> Any:
        """As torch.nn.Module.eval."""

    def train(self, mode: bool = True) -> Any:
        """As torch.nn.Module.train."""


class RandomActor(Actor):
    """Uniform over the available actions, or over the actions' box."""

    def __init__(self, env: TeamEnv) -> None:
        self.env = env

    def reset(self, n_envs: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> np.ndarray:
        if self.env.discrete:
            available = observation["available_actions"]
            return np.asarray(np.where(available, self._rng.random(available.shape), -1.0).argmax(axis=-1))
        shape = (len(observation["obs"]), self.env.n_agents, self.env.n_actions)
        return self._rng.uniform(-1.0, 1.0, shape).astype(np.float32)


class NpzActor(Actor):
    """A small perceptron W0, b0, W1, ….

    With discrete actions it takes an agent's observation and one-hot id, and is sampled from its softmax. With
    continuous actions it takes the observation of the whole body (`TeamEnv.single_obs`), and noise is added.

    Args:
        env: where it acts.
        path: the npz file.
        noise: standard deviation, of continuous actions.
    """

    def __init__(self, env: TeamEnv, path: Path, noise: float = 0.0) -> None:
        with np.load(path) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.layers = sum(name.startswith("W") for name in self.arrays)
        self.env, self.noise = env, noise
        self.inputs = self.arrays["W0"].shape[1]
        expected = env.obs_dim + env.n_agents
        if env.discrete and self.inputs != expected:
            raise MisodiceError(f"behaviour {path.name}: {self.inputs} inputs, the task has {expected}; choose another")

    def reset(self, n_envs: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> np.ndarray:
        if self.env.discrete:
            obs = observation["obs"]
            identity = np.broadcast_to(
                np.eye(self.env.n_agents, dtype=np.float32), (len(obs), *[self.env.n_agents] * 2)
            )
            logits = self._net(np.concatenate([obs, identity], axis=-1), lambda x: np.maximum(x, 0.0))
            logits = np.where(observation["available_actions"], logits, -np.inf)
            # The greatest of logits with Gumbel noise is a sample of the softmax.
            return np.asarray((logits + self._rng.gumbel(size=logits.shape)).argmax(axis=-1))
        mean, std = self.arrays["mean"], self.arrays["std"]
        x = (self.env.single_obs[:, : len(mean)] - mean) / std
        if "clip" in self.arrays:
            x = np.clip(x, -self.arrays["clip"], self.arrays["clip"])
        actions = np.clip(self._net(x, np.tanh), -1.0, 1.0)
        actions = np.clip(actions + self.noise * self._rng.normal(size=actions.shape), -1.0, 1.0)
        return self.env.from_actuators(actions)

    def _net(self, x: np.ndarray, activation: Any) -> np.ndarray:
        for layer in range(self.layers):
            x = x @ self.arrays[f"W{layer}"].T + self.arrays[f"b{layer}"]
            if layer + 1 < self.layers:
                x = activation(x)
        return x


class PolicyActor(Actor):
    """A trained policy, greedy."""

    def __init__(self, policy: ActingPolicy) -> None:
        self.policy = policy

    def reset(self, n_envs: int, seed: int) -> None:
        """It draws nothing."""

    def act(self, observation: Observation) -> np.ndarray:
        available = observation.get("available_actions")
        actions = self.policy.act(
            torch.from_numpy(np.array(observation["obs"])),
            None if available is None else torch.from_numpy(np.array(available)).to(self.policy.device),
        )
        if not isinstance(actions, Tensor):
            raise MisodiceError(
                f"{type(self.policy).__name__}.act returned {type(actions).__name__}, expected a tensor: int64 [B, n], "
                "or float [B, n, A]"
            )
        result: np.ndarray = actions.detach().cpu().numpy()
        return result


def make_actor(engine: Engine, env: TeamEnv, behaviour: str | Callable[[TeamEnv], Actor], noise: float = 0.0) -> Actor:
    """The actor that a behaviour stands for (see `Source`).

    Args:
        engine: what made `env`: its bundled behaviours and scripted player can be named.
        env: where it acts.
        behaviour: a name, a path, a class path, or what makes an actor of the environment.
        noise: of an npz policy's continuous actions.

    Raises:
        MisodiceError: no such behaviour; the bundled names are given.
    """
    if not isinstance(behaviour, str):
        return behaviour(env)
    if behaviour == "random":
        return RandomActor(env)
    if behaviour == "heuristic":
        return engine.scripted_actor(env)
    if behaviour.endswith(".ckpt"):
        return _trained(env, behaviour)
    if behaviour.endswith(".npz") and Path(behaviour).is_file():
        return NpzActor(env, Path(behaviour), noise)
    bundled = engine.behaviours()
    if behaviour in bundled:
        return NpzActor(env, bundled[behaviour], noise)
    if "." in behaviour and not behaviour.endswith(".npz"):
        own: Actor = import_class(behaviour, Actor, "behaviour")(env)  # type: ignore[type-abstract]
        return own
    names = ", ".join([*sorted(bundled), "heuristic, random"])
    raise MisodiceError(f"behaviour {behaviour!r}: not found; bundled: {names}")


def _trained(env: TeamEnv, path: str) -> Actor:
    policy = Policy.load(Path(path))
    spec = policy.spec
    assert spec is not None
    found = (spec.n_agents, spec.obs_dim, spec.n_actions)
    expected = (env.n_agents, env.obs_dim, env.n_actions)
    if found != expected:
        raise MisodiceError(
            f"behaviour {path}: agents, observation and action sizes are {found}, but the task's are {expected}; "
            "choose a policy of this task"
        )
    return PolicyActor(policy)
