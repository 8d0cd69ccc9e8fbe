"""D_U as tensors: a batch is one indexing."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from misodice.data.episodes import Episodes, rows_of_transitions
from misodice.datamodules.batches import Spec, Step, Transition


@dataclass(frozen=True)
class TransitionTable:
    """All transitions of an episodes file, on one device.

    Row t of what is observed has its successor in row t + 1 (see `misodice.data.episodes`). R rows, T transitions, E
    episodes.

    Args:
        spec: sizes and statistics.
        obs: float32 [R, n, O].
        state: float32 [R, S].
        actions: int64 [T, n] or float32 [T, n, A].
        available_actions: bool [R, n, A]; None where actions are continuous.
        rows: row that each transition starts from, int64 [T].
        first_rows: row that each episode starts from, int64 [E].
        last: 1 at the last transition of each episode, float32 [T].
        terminated: 1 where the environment's own rules ended the episode, float32 [T].
        length: transitions of each episode, int64 [E].
    """

    spec: Spec
    obs: Tensor
    state: Tensor
    actions: Tensor
    available_actions: Tensor | None
    rows: Tensor
    first_rows: Tensor
    last: Tensor
    terminated: Tensor
    length: Tensor

    @classmethod
    def of(cls, episodes: Episodes) -> Self:
        """The table of a file, on the CPU; it shares the memory of the file's arrays."""
        rows = torch.from_numpy(rows_of_transitions(episodes.length))
        ends = np.cumsum(episodes.length) - 1
        last = torch.zeros(episodes.n_transitions)
        last[torch.from_numpy(ends)] = 1.0
        available = episodes.available_actions
        return cls(
            spec=spec_of(episodes),
            obs=torch.from_numpy(episodes.obs),
            state=torch.from_numpy(episodes.state),
            actions=torch.from_numpy(episodes.actions),
            available_actions=None if available is None else torch.from_numpy(available),
            rows=rows,
            first_rows=rows[torch.from_numpy(np.concatenate([[0], ends[:-1] + 1]))],
            last=last,
            terminated=torch.from_numpy(episodes.terminated).float(),
            length=torch.from_numpy(episodes.length),
        )

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.obs.device

    @property
    def n_transitions(self) -> int:
        """T."""
        return len(self.rows)

    def on(self, device: torch.device) -> TransitionTable:
        """The same table on a device; it stays where it is if it would fill more than half of a GPU's free memory."""
        tensors = {each.name: value for each in fields(self) if isinstance(value := getattr(self, each.name), Tensor)}
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        # The other half is for networks and batches.
        if device == self.device or (device.type == "cuda" and 2 * size > torch.cuda.mem_get_info(device)[0]):
            return self
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()}
        return replace(self, **moved)

    def step(self, items: Tensor) -> Step:
        """What was seen and done in transitions `items`, int64 [M] on the table's device."""
        rows = self.rows[items]
        return Step(self.obs[rows], self.state[rows], self.actions[items])

    def transition(self, items: Tensor) -> Transition:
        """Transitions `items`, int64 [M] on the table's device, with their successors."""
        rows = self.rows[items]
        return Transition(
            obs=self.obs[rows],
            state=self.state[rows],
            actions=self.actions[items],
            next_obs=self.obs[rows + 1],
            next_state=self.state[rows + 1],
            terminated=self.terminated[items],
        )


def spec_of(episodes: Episodes) -> Spec:
    """What the networks must know of a file."""
    obs_mean, obs_std = _statistics(episodes.obs.reshape(-1, episodes.obs.shape[-1]))
    state_mean, state_std = _statistics(episodes.state)
    return Spec(
        n_agents=episodes.n_agents,
        obs_dim=episodes.obs.shape[2],
        state_dim=episodes.state.shape[1],
        n_actions=episodes.n_actions,
        discrete=episodes.discrete,
        obs_mean=obs_mean,
        obs_std=obs_std,
        state_mean=state_mean,
        state_std=state_std,
        env=episodes.header.env,
        obs_features=episodes.header.obs_features,
        action_scale=episodes.header.action_scale,
    )


def _statistics(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each entry, in float64 and a piece at a time."""
    total = np.zeros(values.shape[1])
    squares = np.zeros(values.shape[1])
    for start in range(0, len(values), 65536):
        total += values[start : start + 65536].sum(axis=0, dtype=np.float64)
    mean = total / len(values)
    for start in range(0, len(values), 65536):
        squares += ((values[start : start + 65536] - mean) ** 2).sum(axis=0)
    return mean.tolist(), np.sqrt(squares / len(values)).tolist()
