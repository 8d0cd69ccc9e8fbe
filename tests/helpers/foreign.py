"""Small valid files of the layouts that `misodice convert` reads, made from episodes."""

from pathlib import Path

import h5py
import numpy as np
import torch

from misodice.data.episodes import Episode


def make_episodes(seed: int, lengths: list[int], discrete: bool, n: int = 3, obs: int = 4, actions: int = 5):
    """Random episodes with a state of [n × obs] entries; continuous actions within ±0.9."""
    rng = np.random.default_rng(seed)
    episodes = []
    for steps in lengths:
        available = rng.random((steps + 1, n, actions)) < 0.5
        available[..., -1] = True
        chosen = np.where(available[:-1], rng.random((steps, n, actions)), -1.0).argmax(axis=-1)
        ends = np.arange(steps) == steps - 1
        terminated = ends & bool(rng.random() < 0.5)
        episodes.append(
            Episode(
                obs=rng.normal(size=(steps + 1, n, obs)).astype(np.float32),
                state=rng.normal(size=(steps + 1, n * obs)).astype(np.float32),
                actions=chosen if discrete else rng.uniform(-0.9, 0.9, (steps, n, actions)).astype(np.float32),
                terminated=terminated,
                truncated=ends & ~terminated,
                rewards=rng.normal(size=steps).astype(np.float32),
                available_actions=available if discrete else None,
            )
        )
    return episodes


def pad(values: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((rows - len(values), *values.shape[1:]), values.dtype)])


def padded(episodes: list[Episode], extra_action: bool = False, agents: bool = False) -> dict[str, np.ndarray]:
    """The fields that O-MAPL and ComaDICE share, [N, T, …]; with `agents`, v1's copies for each agent."""
    steps, n = max(len(e) for e in episodes) + 1, episodes[0].obs.shape[1]
    fields = {
        "states": np.stack([pad(e.state, steps + 1) for e in episodes]),
        "obs": np.stack([pad(e.obs, steps + 1) for e in episodes]),
        "actions": np.stack([pad(e.actions, steps + extra_action) for e in episodes]),
        "rewards": np.stack([pad(e.rewards, steps) for e in episodes]),
        "dones": np.stack([pad(e.terminated, steps) for e in episodes]),
        "actives": np.stack([pad(np.ones(len(e), bool), steps) for e in episodes]),
    }
    if episodes[0].available_actions is not None:
        fields["avails"] = np.stack([pad(e.available_actions, steps + 1) for e in episodes])
    if agents:
        fields["states"] = fields["states"].reshape(*fields["states"].shape[:2], n, -1)
        for name in ("rewards", "dones", "actives"):
            fields[name] = np.repeat(fields[name][..., None], n, axis=-1)
    return fields


def write_omapl(
    path: Path, episodes: list[Episode], pairs: list[tuple[int, int]], labels: list[float], **options
) -> Path:
    fields = padded(episodes)
    with h5py.File(path, "w") as file:
        for side, name in enumerate("xy"):
            chosen = [pair[side] for pair in pairs]
            for field, values in fields.items():
                kind = np.float32 if values.dtype == bool else values.dtype
                file.create_dataset(f"{field}_{name}", data=values[chosen].astype(kind), **options)
        file["labels"] = np.asarray(labels, np.float32)
    return path


def write_comadice(path: Path, episodes: list[Episode], scale: float = 1.0, agents: bool = False) -> Path:
    discrete = episodes[0].available_actions is not None
    fields = padded(episodes, extra_action=not discrete, agents=agents)
    if not discrete:
        fields["actions"] = fields["actions"] * np.float32(scale)
    np.savez(path, **fields)
    return path


def write_omiga(path: Path, episodes: list[Episode], tail: int = 0, **options) -> Path:
    """Each episode's steps and a delimiter that observes the next one's first; `tail` steps of an unfinished one."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in "soard"}
    following = [*episodes[1:], episodes[0]]
    for episode, after in zip(episodes, following, strict=True):
        n, steps = episode.obs.shape[1], len(episode)
        columns["o"] += [episode.obs[:-1], after.obs[:1]]
        columns["s"] += [episode.state[:-1].reshape(steps, n, -1), after.state[:1].reshape(1, n, -1)]
        columns["a"] += [episode.actions, np.zeros_like(episode.actions[:1])]
        columns["r"] += [episode.rewards[:, None], np.zeros((1, 1), np.float32)]
        columns["d"] += [np.zeros((steps, 1)), np.ones((1, 1))]
    if tail:
        last = episodes[0]
        columns["o"] += [last.obs[:tail]]
        columns["s"] += [last.state[:tail].reshape(tail, last.obs.shape[1], -1)]
        columns["a"] += [last.actions[:tail]]
        columns["r"] += [last.rewards[:tail, None]]
        columns["d"] += [np.zeros((tail, 1))]
    with h5py.File(path, "w") as file:
        for name, parts in columns.items():
            file.create_dataset(name, data=np.concatenate(parts), **options)
    return path


def nested(episode: Episode) -> list:
    """OMIGA's SMACv1 episode: [n][L] of [state, obs, [action], [reward], done, available], as its buffer saves it."""
    n, steps = episode.obs.shape[1], len(episode)
    state = episode.state.reshape(steps + 1, n, -1)
    return [
        [
            [
                state[t, agent],
                episode.obs[t, agent].tolist(),
                [episode.actions[t, agent]],
                [float(episode.rewards[t])],
                np.bool_(t == steps - 1),
                episode.available_actions[t, agent].astype(np.float64),
            ]
            for t in range(steps)
        ]
        for agent in range(n)
    ]


def write_omiga_smac(folder: Path, episodes: list[Episode]) -> Path:
    folder.mkdir()
    for index, episode in enumerate(episodes):
        torch.save(nested(episode), folder / f"episode_{index:04d}")
    return folder


def experience(episodes: list[Episode]) -> dict[str, np.ndarray]:
    """An OG-MARL vault's arrays [1, T, n, …]."""
    n = episodes[0].obs.shape[1]
    arrays = {
        "observations": np.concatenate([e.obs[:-1] for e in episodes]),
        "actions": np.concatenate([e.actions for e in episodes]),
        "rewards": np.repeat(np.concatenate([e.rewards for e in episodes])[:, None], n, axis=1),
        "terminals": np.repeat(np.concatenate([e.terminated for e in episodes])[:, None], n, axis=1),
        "truncations": np.repeat(np.concatenate([e.truncated for e in episodes])[:, None], n, axis=1),
        "infos.state": np.concatenate([e.state[:-1] for e in episodes]),
    }
    if episodes[0].available_actions is not None:
        legals = np.concatenate([e.available_actions[:-1] for e in episodes if e.available_actions is not None])
        arrays["infos.legals"] = legals.astype(np.float32)
    return {name: values[None] for name, values in arrays.items()}


def write_vault(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A vault {name}.vlt/{uid} of these arrays; needs flashbax."""
    import jax.numpy as jnp
    from flashbax.buffers.trajectory_buffer import TrajectoryBufferState
    from flashbax.vault import Vault

    tree: dict = {"infos": {}}
    for name, values in arrays.items():
        inside = tree["infos"] if name.startswith("infos.") else tree
        # A buffer of T + 1 rows: one that is written up to its end counts as empty.
        inside[name.removeprefix("infos.")] = jnp.asarray(np.concatenate([values, values[:, :1]], axis=1))
    steps = arrays["actions"].shape[1]
    vault = Vault(path.parent.name, tree, str(path.parent.parent), path.name, metadata={"algorithm": "qmix"})
    vault.write(TrajectoryBufferState(experience=tree, current_index=jnp.array(steps), is_full=jnp.array(False)))
    return path
