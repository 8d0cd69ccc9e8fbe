"""Roll behaviour policies out into an episodes file; combine files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from misodice.data.episodes import Episodes, EpisodesWriter
from misodice.envs import EnvConfig, make_env, resolve_engine
from misodice.envs.base import Actor, Observation, TeamEnv, rollout
from misodice.errors import MisodiceError

BATCH = {"smax": 100, "mamujoco": 32, "starcraft2": 32}


@dataclass
class Source:
    """A part of a data set: who acts, how often, under which name.

    Args:
        behaviour: a bundled policy's name (zerg_5_vs_5_expert, hopper_v5_poor), "random", "heuristic" (SMAX,
            StarCraft II), the path of a policy's npz or of a trained policy's checkpoint, or the class path of an
            `envs.base.Actor` of your own, made with the environment.
        episodes: how many.
        source: the name written beside each episode, hidden from training.
        noise: standard deviation of Gaussian noise on continuous actions.
    """

    behaviour: str
    episodes: int
    source: str
    noise: float = 0.0


class RandomActor:
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


class NpzActor:
    """A small perceptron W0, b0, W1, …; sampled from its softmax (SMAX) or deterministic plus noise (MuJoCo).

    Args:
        env: where it acts.
        path: the npz file.
        noise: of continuous actions.
    """

    def __init__(self, env: TeamEnv, path: Path, noise: float) -> None:
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
        x = (self.env.single_obs[:, : len(mean)] - mean) / std  # type: ignore[attr-defined]
        if "clip" in self.arrays:
            x = np.clip(x, -self.arrays["clip"], self.arrays["clip"])
        actions = np.clip(self._net(x, np.tanh), -1.0, 1.0)
        actions = np.clip(actions + self.noise * self._rng.normal(size=actions.shape), -1.0, 1.0)
        local: np.ndarray = self.env.global_to_local(actions)  # type: ignore[attr-defined]
        return local

    def _net(self, x: np.ndarray, activation: Any) -> np.ndarray:
        for layer in range(self.layers):
            x = x @ self.arrays[f"W{layer}"].T + self.arrays[f"b{layer}"]
            if layer + 1 < self.layers:
                x = activation(x)
        return x


class PolicyActor:
    """A trained misodice policy, greedy."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def reset(self, n_envs: int, seed: int) -> None:
        pass

    def act(self, observation: Observation) -> np.ndarray:
        import torch

        available = observation.get("available_actions")
        actions = self.policy.act(
            torch.from_numpy(np.array(observation["obs"])),
            None if available is None else torch.from_numpy(np.array(available)).to(self.policy.device),
        )
        result: np.ndarray = actions.numpy()
        return result


def make_actor(env: TeamEnv, behaviour: str, noise: float = 0.0) -> Actor:
    """The actor that a name or path stands for.

    Raises:
        MisodiceError: no such behaviour; the bundled names are given.
    """
    if behaviour == "random":
        return RandomActor(env)
    if behaviour == "heuristic":
        return _heuristic(env)
    if behaviour.endswith(".ckpt"):
        return _trained(env, behaviour)
    if "." in behaviour and not behaviour.endswith(".npz"):
        return _own_actor(env, behaviour)
    folder = Path(str(files("misodice"))) / "behaviours" / str(env.header.env["engine"])
    path = Path(behaviour) if behaviour.endswith(".npz") else folder / f"{behaviour}.npz"
    if not path.is_file():
        bundled = ", ".join(sorted(p.stem for p in folder.glob("*.npz")))
        raise MisodiceError(f"behaviour {behaviour!r}: not found; bundled: {bundled}, heuristic, random")
    return NpzActor(env, path, noise)


def _trained(env: TeamEnv, path: str) -> Actor:
    from misodice.modules import Policy

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


def _own_actor(env: TeamEnv, class_path: str) -> Actor:
    try:
        actor: Actor = resolve_name(class_path)(env)
    except (ImportError, AttributeError) as error:
        raise MisodiceError(
            f"behaviour {class_path!r}: cannot be imported ({error}); expected module.Class of an actor made with the "
            "environment"
        ) from error
    return actor


def _heuristic(env: TeamEnv) -> Actor:
    engine = env.header.env["engine"]
    if engine == "starcraft2":
        from misodice.envs.starcraft2 import env as starcraft2

        assert isinstance(env, starcraft2.Starcraft2Env)
        return starcraft2.HeuristicActor(env)
    if engine == "smax":
        from misodice.envs.smax import env as smax

        assert isinstance(env, smax.SmaxEnv)
        return smax.HeuristicActor(env)
    raise MisodiceError(f"behaviour heuristic: engine {engine} has none; smax and starcraft2 have one")


def default_sources(config: EnvConfig) -> list[Source]:
    """The paper's D_U, 200 expert and 1000 poor episodes, from the bundled behaviours."""
    engine = resolve_engine(config)
    if engine == "mamujoco":
        poor = {
            "Hopper": [Source("hopper_v5_poor", 500, "poor"), Source("hopper_v5_medium_low", 500, "poor", 0.3)],
            "Ant": [Source("ant_v5_poor", 500, "poor"), Source("random", 500, "random")],
            "HalfCheetah": [Source("halfcheetah_v5_low", 500, "poor"), Source("random", 500, "random")],
        }
        if config.task not in poor:
            raise MisodiceError(
                f"env.task: nothing is bundled for {config.task!r}, only for {', '.join(poor)}; mend the name, or "
                "collect with sources of your own: misodice collect --sources …"
            )
        return [Source(f"{config.task.lower()}_v5_expert", 200, "expert"), *poor[config.task]]
    if engine == "starcraft2":
        return [Source("heuristic", 200, "expert"), Source("random", 1000, "random")]
    folder = files("misodice") / "behaviours" / "smax"
    expert = f"{config.task}_expert"
    weak = next((f"{config.task}_{q}" for q in ("weak", "poor") if (folder / f"{config.task}_{q}.npz").is_file()), None)
    first = Source(expert if (folder / f"{expert}.npz").is_file() else "heuristic", 200, "expert")
    if weak is None:
        return [first, Source("random", 1000, "random")]
    return [first, Source(weak, 500, "poor"), Source("random", 500, "random")]


def collect(config: EnvConfig, sources: Sequence[Source], path: str | Path, seed: int, shuffle: bool = True) -> None:
    """Roll every source out and write one file, shuffled so that its order tells nothing.

    Nothing appears under `path` until all is done.
    """
    episodes = []
    size = min(max(source.episodes for source in sources), BATCH[resolve_engine(config)])
    env = make_env(config, size)
    header = env.header
    with progress(Console(stderr=True)) as bar:
        for index, source in enumerate(sources):
            actor = make_actor(env, source.behaviour, source.noise)
            task = bar.add_task(f"collect {config.task}: {source.behaviour}", total=source.episodes)
            for episode in rollout(env, actor, source.episodes, seed + 7919 * index, source.source):
                episodes.append(episode)
                bar.advance(task)
    env.close()
    order = np.random.default_rng(seed).permutation(len(episodes)) if shuffle else range(len(episodes))
    with EpisodesWriter(path, header) as writer:
        for i in order:
            writer.add(episodes[i])


def mix(paths: Sequence[str], output: str | Path, seed: int) -> None:
    """Combine files of one environment into one shuffled D_U that keeps every episode's source.

    Raises:
        MisodiceError: the files' environments, or what their actions are divided by, differ.
    """
    inputs = [Episodes.read(path) for path in paths]
    for path, other in zip(paths[1:], inputs[1:], strict=True):
        if other.header.env != inputs[0].header.env:
            raise MisodiceError(
                f"{path}: made in {other.header.env}, but {paths[0]} in "
                f"{inputs[0].header.env}; mix files of one environment"
            )
        if other.header.action_scale != inputs[0].header.action_scale:
            raise MisodiceError(
                f"{path}: action_scale is {other.header.action_scale:g}, but {inputs[0].header.action_scale:g} in "
                f"{paths[0]}; convert both again with the greater as --action_scale"
            )
    order = [(file, index) for file, episodes in enumerate(inputs) for index in range(episodes.n_episodes)]
    np.random.default_rng(seed).shuffle(order)
    with EpisodesWriter(output, replace(inputs[0].header, created_by="misodice mix")) as writer:
        for file, index in order:
            writer.add(inputs[file][index])


def progress(console: Console) -> Progress:
    """A bar that counts to a total and says how long it will be."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
