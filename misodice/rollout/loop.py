"""The loop in which an actor plays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from misodice.data.episodes import Episode
from misodice.envs.base import Actor, Observation, TeamEnv
from misodice.errors import MisodiceError


def rollout(env: TeamEnv, actor: Actor, episodes: int, seed: int, source: str | None = None) -> Iterator[Episode]:
    """Play whole episodes, `env.num_envs` at a time, and yield each as it was.

    Every started episode counts: stopping at the first N to end would favour short ones. An episode whose game was
    lost (info["lost"]) is played again with the same seed.

    Raises:
        MisodiceError: what the environment returns is not what its spaces say.
    """
    for start in range(0, episodes, env.num_envs):
        wave_seed = int(np.random.SeedSequence([seed, start]).generate_state(1)[0] >> 1)
        wave = _play(env, actor, wave_seed, source)[: episodes - start]
        while None in wave:
            missing = np.array([i < len(wave) and wave[i] is None for i in range(env.num_envs)])
            again = _play(env, actor, wave_seed, source, missing)
            wave = [again[i] if episode is None else episode for i, episode in enumerate(wave)]
        yield from (episode for episode in wave if episode is not None)


def _play(
    env: TeamEnv, actor: Actor, seed: int, source: str | None, reset_mask: np.ndarray | None = None
) -> list[Episode | None]:
    """One episode of each environment, or of those in `reset_mask`; None where there is none or its game was lost."""
    begun = env.reset(seed=seed, options=None if reset_mask is None else {"reset_mask": reset_mask})
    if not isinstance(begun, tuple) or len(begun) != 2:
        raise MisodiceError(f"{type(env).__name__}.reset returned {_told(begun)}, expected (observation, info)")
    observation, _ = begun
    _check(env, observation, "reset")
    actor.reset(env.num_envs, seed)
    observations, actions, rewards, terminals, truncations = [observation], [], [], [], []
    running = np.ones(env.num_envs, bool) if reset_mask is None else reset_mask.copy()
    lost = ~running
    won = np.zeros(env.num_envs, bool)
    lengths = np.zeros(env.num_envs, int)
    while running.any():
        action = _acted(env, actor, observation)
        if not env.discrete:
            action = np.clip(action, -1.0, 1.0)  # what the environment does, and so what the episode tells
        observation, reward, terminated, truncated, info = _stepped(env, action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        terminals.append(terminated)
        truncations.append(truncated)
        lengths += running
        ended = running & (terminated | truncated)
        if env.has_outcome:
            won |= ended & _outcome(env, info)
        lost |= ended & info.get("lost", False)
        running &= ~ended

    def rows(values: list[np.ndarray], i: int, count: int) -> np.ndarray:
        # Of this episode alone: stacked with the others it would be as long as the longest of them.
        return np.stack([value[i] for value in values[:count]])

    seen = {name: [each[name] for each in observations] for name in observation}
    return [
        None
        if lost[i]
        else Episode(
            obs=rows(seen["obs"], i, length + 1),
            state=rows(seen["state"], i, length + 1),
            available_actions=rows(seen["available_actions"], i, length + 1) if env.discrete else None,
            actions=rows(actions, i, length),
            rewards=rows(rewards, i, length),
            terminated=rows(terminals, i, length),
            truncated=rows(truncations, i, length),
            won=bool(won[i]) if env.has_outcome else None,
            source=source,
        )
        for i, length in enumerate(lengths)
    ]


def _acted(env: TeamEnv, actor: Actor, observation: Observation) -> np.ndarray:
    action = actor.act(observation)
    expected = (env.num_envs, env.n_agents, *(() if env.discrete else (env.n_actions,)))
    kind = np.integer if env.discrete else np.floating
    if not isinstance(action, np.ndarray) or action.shape != expected or not np.issubdtype(action.dtype, kind):
        what = "whole numbers" if env.discrete else "floats"
        raise MisodiceError(
            f"{type(actor).__name__}.act returned {_told(action)}, expected an array of {what} {expected}"
        )
    return action


def _stepped(
    env: TeamEnv, action: np.ndarray
) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """What a step returned, if it is what it should be: of any other shape episodes would be cut wrongly."""
    returned: Any = env.step(action)
    name = f"{type(env).__name__}.step"
    if not isinstance(returned, tuple) or len(returned) != 5 or not isinstance(returned[4], dict):
        raise MisodiceError(
            f"{name} returned {_told(returned)}, expected (observation, reward, terminated, truncated, info)"
        )
    _check(env, returned[0], "step")
    for what, value in zip(("reward", "terminated", "truncated"), returned[1:4], strict=True):
        kinds: Any = (np.floating, np.integer, np.bool_) if what == "reward" else (np.bool_,)
        fits = isinstance(value, np.ndarray) and value.shape == (env.num_envs,)
        if not fits or not any(np.issubdtype(value.dtype, kind) for kind in kinds):
            wanted = "numbers" if what == "reward" else "bool"
            raise MisodiceError(f"{name}: {what} is {_told(value)}, expected an array of {wanted} ({env.num_envs},)")
    return returned


def _told(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {value.shape}"
    if isinstance(value, tuple):
        return f"({', '.join(type(each).__name__ for each in value)})"
    if isinstance(value, dict):
        return f"a dictionary of {', '.join(map(repr, value))}"
    return f"{type(value).__name__} {value!r}"[:80]


def _check(env: TeamEnv, observation: Observation, method: str) -> None:
    """Hold an observation against the spaces: a user's environment may say one and return another."""
    if not isinstance(observation, dict):
        raise MisodiceError(
            f"{type(env).__name__}.{method}: observation is {_told(observation)}, expected a dictionary of arrays"
        )
    single = env.single_observation_space
    expected = {name: (env.num_envs, *(space.shape or ())) for name, space in single.items()}  # type: ignore[attr-defined]
    found = {name: np.shape(values) for name, values in observation.items()}
    if found != expected:
        raise MisodiceError(
            f"{type(env).__name__}.{method}: observation has shapes {found}, expected {expected}; correct the "
            "environment, or the sizes that it gives to set_spaces"
        )


def _outcome(env: TeamEnv, info: dict[str, np.ndarray]) -> np.ndarray:
    if "won" not in info:
        raise MisodiceError(
            f'{type(env).__name__}.step: info has {sorted(info)}, expected also "won", bool [{env.num_envs}], because '
            "has_outcome is true"
        )
    return info["won"]
